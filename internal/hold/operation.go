// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Policy decides what becomes of an operation while the hold is closed.
type Policy string

// Values of Policy.
const (
	Hold   Policy = "hold"   // it waits
	Deny   Policy = "deny"   // it fails with EBUSY
	Report Policy = "report" // it goes on, and is recorded
	Ignore Policy = "ignore" // it is not looked at
)

// Policies are the words that a user can choose from.
var policies = []Policy{Hold, Deny, Report, Ignore}

// ParsePolicy returns the policy of that name.
func ParsePolicy(text string) (Policy, error) {
	if !slices.Contains(policies, Policy(text)) {
		return "", fmt.Errorf("unknown policy %q: want one of %s", text, join(policies))
	}
	return Policy(text), nil
}

// code is enum operation of bpf/hold.bpf.c.
type code uint32

const (
	opBPF code = iota + 1
	opPerf
	opTracing
	opModule
	opSysctl
	opHotplug
	opMicrocode
	opAffinity
	opCpuset
	opSocketOption
	opNetlink
	opDevice
	opIRQ
	opKVM
	opMemory
	opSwap
	opSysrq
	opCodes
)

// Operation is one that would interrupt CPUs, and can be kept back.
type Operation struct {
	Name string `json:"name"`
	What string `json:"what"`
	// Spares is the cause, in the catalogue, of the interruption that it would be.
	Spares string `json:"spares"`
	// Hooks are functions of the kernel before its first effect.
	Hooks []string `json:"hooks"`
	// Calls are the system calls that can start it. It is not held if another system
	// call starts it.
	Calls []string `json:"calls"`
	// Missing is the reason why it is not guarded on this kernel.
	Missing string `json:"missing,omitempty"`
	// Unknown is the reason why it is not known whether it is guarded.
	Unknown string `json:"unknown,omitempty"`

	code code
}

const (
	hookBPF        = "security_bpf"
	hookPerf       = "security_perf_event_open"
	hookPermission = "security_file_permission"
	hookOpen       = "security_file_open"
	hookReadFile   = "security_kernel_read_file"
	hookLoadData   = "security_kernel_load_data"
	hookOption     = "security_socket_setsockopt"
	hookNetlink    = "security_netlink_send"
	hookIoctl      = "security_file_ioctl"
	hookAffinity   = "security_task_setscheduler"
)

var (
	writing = []string{"write", "pwrite64", "writev"}
	using   = []string{"read", "pread64", "readv", "write", "pwrite64", "writev"}
)

// Operations returns all that can be guarded.
func Operations() []Operation {
	permission := []string{hookPermission}
	return []Operation{
		{code: opBPF, Name: "bpf", What: "loading, attaching or detaching a BPF program; switching BPF statistics on", Spares: "ipi-text-patching-bpf", Hooks: []string{hookBPF}, Calls: []string{"bpf"}},
		{code: opPerf, Name: "perf", What: "opening a perf event on the CPUs or on a task; kprobes, uprobes and tracepoints among them", Spares: "ipi-text-patching-perf", Hooks: []string{hookPerf}, Calls: []string{"perf_event_open"}},
		{code: opTracing, Name: "tracing", What: "writing to files of tracefs, which sets tracers, events, kprobes and uprobes", Spares: "ipi-text-patching-tracing", Hooks: []string{hookPermission, hookOpen}, Calls: append([]string{"open", "openat", "openat2", "creat"}, writing...)},
		{code: opModule, Name: "module", What: "loading a kernel module", Spares: "ipi-text-patching-module", Hooks: []string{hookReadFile, hookLoadData}, Calls: []string{"finit_module", "init_module"}},
		{code: opSysctl, Name: "sysctl", What: "settings in /proc/sys that run on every CPU or patch code", Spares: "work-lru-drain", Hooks: permission, Calls: using},
		{code: opHotplug, Name: "hotplug", What: "switching a CPU or SMT on or off", Spares: "stopper-hotplug", Hooks: permission, Calls: writing},
		{code: opMicrocode, Name: "microcode", What: "loading microcode", Spares: "stopper-microcode", Hooks: permission, Calls: writing},
		{code: opAffinity, Name: "affinity", What: "allowing a thread to run on the CPUs", Spares: "task-user", Hooks: []string{hookAffinity}, Calls: []string{"sched_setaffinity"}},
		{code: opCpuset, Name: "cpuset", What: "dividing CPUs among cgroups, which rebuilds scheduling domains; moving a task into a cgroup of the CPUs", Spares: "task-user", Hooks: permission, Calls: writing},
		{code: opSocketOption, Name: "socket-option", What: "options of sockets that flip a static key", Spares: "ipi-text-patching-static-key", Hooks: []string{hookOption}, Calls: []string{"setsockopt"}},
		{code: opNetlink, Name: "netlink", What: "changes of nftables rules and of traffic control", Spares: "ipi-text-patching-static-key", Hooks: []string{hookNetlink}, Calls: append([]string{"sendto", "sendmsg"}, writing...)},
		{code: opDevice, Name: "device", What: "reading or writing model specific registers, and CPUID, of the CPUs by their devices", Spares: "ipi-msr", Hooks: permission, Calls: using},
		{code: opIRQ, Name: "irq", What: "sending an interrupt to the CPUs by its affinity", Spares: "irq", Hooks: permission, Calls: writing},
		{code: opKVM, Name: "kvm", What: "creating a virtual machine", Spares: "ipi-kvm", Hooks: []string{hookIoctl}, Calls: []string{"ioctl"}},
		{code: opMemory, Name: "memory", What: "switching memory on or off", Spares: "work-lru-drain", Hooks: permission, Calls: writing},
		{code: opSwap, Name: "swap", What: "swapon and swapoff", Spares: "work-lru-drain", Hooks: []string{hookOpen}, Calls: []string{"swapon", "swapoff"}},
		{code: opSysrq, Name: "sysrq", What: "backtraces of all CPUs by /proc/sysrq-trigger", Spares: "nmi-backtrace", Hooks: permission, Calls: writing},
	}
}

// NotGuarded are operations that interrupt CPUs and cannot be kept back, or need
// not be, each with the reason.
func NotGuarded() [][2]string {
	return [][2]string{
		{"unloading a module", "delete_module(2) has no security hook but that for CAP_SYS_MODULE, which cannot say \"later\""},
		{"closing the descriptor of a BPF link or perf event", "close(2) and the end of a process have no hook, and cannot wait"},
		{"what is controlled by a descriptor that is open: ioctl of perf events, mmap of /dev/cpu", "only opening it is guarded"},
		{"setting the clock", "its value would be late by as long as it was held"},
		{"membarrier(2) of other processes", "interrupts no CPU on which they do not run"},
		{"munmap(2), mprotect(2) and the like of other processes", "interrupts no CPU on which they do not run"},
		{"operations of the isolated program itself", "its isolated threads may wait for the others"},
		{"work of the kernel's own: timers, reclaim, khugepaged, the clocksource watchdog", "nobody asks for it; taskiso partition and boot parameters"},
	}
}

// operationNamed returns what a name stands for.
func operationNamed(name string) (Operation, error) {
	all := Operations()
	i := slices.IndexFunc(all, func(o Operation) bool { return o.Name == name })
	if i < 0 {
		var names []string
		for _, o := range all {
			names = append(names, o.Name)
		}
		return Operation{}, fmt.Errorf("unknown operation %q: want one of %s", name, strings.Join(names, ", "))
	}
	return all[i], nil
}

// Masks of a use of a file: MAY_WRITE and MAY_READ of include/linux/fs.h.
const (
	mayWrite = 2
	mayRead  = 4
)

// fileRule makes the use of a file an operation. The name is the last part of the path,
// empty for every file of the file system; the keeper checks the whole path later.
type fileRule struct {
	magic int64
	name  string
	code  code
	mask  uint32
}

func fileRules() []fileRule {
	rules := []fileRule{
		{unix.TRACEFS_MAGIC, "", opTracing, mayWrite},
		{unix.SYSFS_MAGIC, "online", opHotplug, mayWrite}, // of a CPU or a block of memory
		{unix.SYSFS_MAGIC, "control", opHotplug, mayWrite},
		{unix.SYSFS_MAGIC, "target", opHotplug, mayWrite},
		{unix.SYSFS_MAGIC, "reload", opMicrocode, mayWrite},
		{unix.SYSFS_MAGIC, "state", opMemory, mayWrite},
		{unix.SYSFS_MAGIC, "probe", opMemory, mayWrite},
		{unix.PROC_SUPER_MAGIC, "smp_affinity", opIRQ, mayWrite},
		{unix.PROC_SUPER_MAGIC, "smp_affinity_list", opIRQ, mayWrite},
		{unix.PROC_SUPER_MAGIC, "sysrq-trigger", opSysrq, mayWrite},
	}
	for _, name := range cpusetFiles {
		rules = append(rules, fileRule{unix.CGROUP2_SUPER_MAGIC, name, opCpuset, mayWrite}, fileRule{unix.CGROUP_SUPER_MAGIC, name, opCpuset, mayWrite})
	}
	for _, s := range sysctls {
		rules = append(rules, fileRule{unix.PROC_SUPER_MAGIC, s.name(), opSysctl, s.mask})
	}
	return rules
}

// cpusetFiles are the files of cgroups that move tasks to CPUs, or CPUs to cgroups:
// kernel/cgroup/cpuset.c and cpuset-v1.c. A cpuset that goes away gives its CPUs back.
var cpusetFiles = []string{
	"cgroup.procs", "cgroup.threads", "tasks", "cgroup.subtree_control",
	"cpuset.cpus", "cpuset.cpus.exclusive", "cpuset.cpus.partition",
	"cpuset.cpu_exclusive", "cpuset.sched_load_balance", "cpuset.sched_relax_domain_level",
	"cpus", "cpu_exclusive", "sched_load_balance", "sched_relax_domain_level", // as the file system "cpuset" calls them
}

// sysctl is a setting that interrupts CPUs when it is written, or read.
type sysctl struct {
	path   string // below /proc/sys
	mask   uint32
	spares string
}

func (s sysctl) name() string { return s.path[strings.LastIndex(s.path, "/")+1:] }

// staticKey is what flips with most of them.
const staticKey = "ipi-text-patching-static-key"

// Sources: vm/ mm/vmstat.c (vmstat_refresh, numa_stat), fs/drop_caches.c, mm/compaction.c,
// mm/hugetlb.c (lru_add_drain_all by alloc_contig_range), mm/util.c (overcommit_policy_handler);
// kernel/ kernel/sched/core.c, kernel/delayacct.c, kernel/time/timer.c, kernel/bpf/syscall.c,
// kernel/watchdog.c, kernel/trace/ftrace.c.
var sysctls = []sysctl{
	{"vm/stat_refresh", mayRead | mayWrite, "work-vmstat-refresh"},
	{"vm/drop_caches", mayWrite, "work-lru-drain"},
	{"vm/compact_memory", mayWrite, "work-lru-drain"},
	{"vm/overcommit_memory", mayWrite, "work-overcommit"},
	{"vm/nr_hugepages", mayWrite, "work-lru-drain"},
	{"vm/nr_hugepages_mempolicy", mayWrite, "work-lru-drain"},
	{"vm/numa_stat", mayWrite, staticKey},
	{"kernel/sched_schedstats", mayWrite, staticKey},
	{"kernel/task_delayacct", mayWrite, staticKey},
	{"kernel/numa_balancing", mayWrite, staticKey},
	{"kernel/timer_migration", mayWrite, staticKey},
	{"kernel/bpf_stats_enabled", mayWrite, staticKey},
	{"kernel/ftrace_enabled", mayWrite, "ipi-text-patching-tracing"},
	{"kernel/watchdog", mayWrite, "task-hotplug"},
	{"kernel/nmi_watchdog", mayWrite, "task-hotplug"},
	{"kernel/soft_watchdog", mayWrite, "task-hotplug"},
	{"kernel/watchdog_thresh", mayWrite, "task-hotplug"},
	{"kernel/watchdog_cpumask", mayWrite, "task-hotplug"},
}

// devices are the major numbers of the character devices of Documentation/admin-guide/devices.txt.
var devices = map[uint32]string{202: "msr", 203: "cpuid"}

// socketOption flips a static key when it is first set on a socket.
type socketOption struct {
	level, option int
	name          string
}

// Sources: net/core/sock.c (sock_enable_timestamps: netstamp_needed_key), net/ipv4/udp.c
// (udp_encap_needed_key), net/ipv4/tcp.c (tcp_md5_needed, tcp_ao_needed), net/ipv4/ip_sockglue.c and
// net/ipv6/ipv6_sockglue.c (ip4_min_ttl, ip6_min_hopcount), net/ipv4/netfilter/ip_tables.c and its
// like (new tables register hooks).
var socketOptions = []socketOption{
	{unix.SOL_SOCKET, unix.SO_TIMESTAMP, "SO_TIMESTAMP"},
	{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, "SO_TIMESTAMPNS"},
	{unix.SOL_SOCKET, unix.SO_TIMESTAMPING, "SO_TIMESTAMPING"},
	{unix.SOL_SOCKET, unix.SO_TIMESTAMP_NEW, "SO_TIMESTAMP"},
	{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS_NEW, "SO_TIMESTAMPNS"},
	{unix.SOL_SOCKET, unix.SO_TIMESTAMPING_NEW, "SO_TIMESTAMPING"},
	{unix.IPPROTO_UDP, unix.UDP_ENCAP, "UDP_ENCAP"},
	{unix.IPPROTO_TCP, unix.TCP_MD5SIG, "TCP_MD5SIG"},
	{unix.IPPROTO_TCP, 32, "TCP_MD5SIG_EXT"},
	{unix.IPPROTO_TCP, 38, "TCP_AO_ADD_KEY"}, // include/uapi/linux/tcp.h
	{unix.IPPROTO_IP, unix.IP_MINTTL, "IP_MINTTL"},
	{unix.IPPROTO_IPV6, 73, "IPV6_MINHOPCOUNT"}, // include/uapi/linux/in6.h
	{unix.IPPROTO_IP, 64, "IPT_SO_SET_REPLACE"}, // include/uapi/linux/netfilter_ipv4/ip_tables.h
	{unix.IPPROTO_IPV6, 64, "IP6T_SO_SET_REPLACE"},
	{unix.IPPROTO_IP, 96, "ARPT_SO_SET_REPLACE"},
	{unix.IPPROTO_IP, 128, "EBT_SO_SET_ENTRIES"},
}

// bpfCommands interrupt CPUs: they patch code, change the attributes of pages that
// hold it, or flip a static key. include/uapi/linux/bpf.h.
var bpfCommands = map[uint64]string{
	5: "PROG_LOAD", 8: "PROG_ATTACH", 9: "PROG_DETACH", 17: "RAW_TRACEPOINT_OPEN",
	28: "LINK_CREATE", 29: "LINK_UPDATE", 32: "ENABLE_STATS", 34: "LINK_DETACH",
}

func join(words []Policy) string {
	var list []string
	for _, w := range words {
		list = append(list, string(w))
	}
	return strings.Join(list, ", ")
}
