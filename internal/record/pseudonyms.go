// SPDX-License-Identifier: Apache-2.0

package record

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// pseudonyms stand for names. They are keyed hashes, and nobody keeps the key: who guesses a name cannot verify that.
type pseudonyms struct {
	key    []byte
	names  map[string]string // by original
	kernel map[string]bool   // names of kernel threads, which stay
	size   int               // bytes of names
	sorted []string          // names that are replaced in texts, the longest first

	addresses map[uint64]uint64 // of the kernel
	originals []uint64          // by number
	cgroups   map[uint64]uint64
	known     *Recorded // names of functions by their addresses
}

// maxAddresses bounds how many addresses a recording can have. A kernel has some 200,000 functions.
const maxAddresses = 1 << 20

func newPseudonyms() (*pseudonyms, error) {
	p := &pseudonyms{
		key: make([]byte, sha256.Size), names: make(map[string]string), kernel: make(map[string]bool),
		addresses: make(map[uint64]uint64), cgroups: make(map[uint64]uint64),
	}
	if _, err := rand.Read(p.key); err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	return p, nil
}

// kernelThreads are names of threads that the kernel has on each machine. Causes are named by them.
var kernelThreads = regexp.MustCompile(`^((kworker|ksoftirqd|migration|cpuhp|swapper|rcu[a-z]*|irq|idle_inject|irq_work)/|rcu_|(kthreadd|kcompactd|kswapd|khugepaged)[0-9]*$|taskiso$|taskiso itself )`)

func isKernelThread(name string) bool { return kernelThreads.MatchString(name) }

// name returns the pseudonym of a name. It has as many bytes as a task's name can have.
func (p *pseudonyms) name(original string) string {
	if original == "" || p.kernel[original] || isKernelThread(original) {
		return original
	}
	if name, ok := p.names[original]; ok {
		return name
	}
	hash := hmac.New(sha256.New, p.key)
	hash.Write([]byte(original))
	name := "name-" + hex.EncodeToString(hash.Sum(nil)[:5])
	p.names[original], p.sorted = name, nil
	p.size += nameRoom + 2*len(original)
	return name
}

// argument returns the pseudonym of a word of a command line, or a path. Its last element may stand alone elsewhere.
func (p *pseudonyms) argument(word string) string {
	if base := path.Base(word); base != word && len(base) > 1 {
		p.name(base)
		p.name(base[:min(len(base), 15)]) // TASK_COMM_LEN of include/linux/sched.h
	}
	return p.name(word)
}

// shortest is the shortest name that is looked for in texts: shorter ones are words of any sentence.
const shortest = 3

// pathsIn finds paths. Those of procfs and sysfs name settings, not files of users.
var pathsIn = regexp.MustCompile(`/[\w.@:+-]+(/[\w.@:+-]+)*`)

// text returns a sentence with pseudonyms in the place of names, paths and addresses.
func (p *pseudonyms) text(s string) string {
	if p.sorted == nil {
		p.sorted = slices.SortedFunc(maps.Keys(p.names), func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	}
	for _, original := range p.sorted {
		if len(original) >= shortest {
			s = replaceWord(s, original, p.names[original])
		}
	}
	return pathsIn.ReplaceAllStringFunc(s, func(path string) string {
		if strings.HasPrefix(path, "/proc/") || strings.HasPrefix(path, "/sys/") {
			return path
		}
		return "/" + p.pathName(path)
	})
}

// pathName does not become a name that is replaced: texts are not read twice.
func (p *pseudonyms) pathName(path string) string {
	sorted := p.sorted
	name := p.name(path)
	p.sorted = sorted
	return name
}

func (p *pseudonyms) texts(list []string) []string {
	list = slices.Clone(list)
	for i := range list {
		list[i] = p.text(list[i])
	}
	return list
}

// replaceWord replaces a word where no letter or digit stands beside it.
func replaceWord(s, word, by string) string {
	var b strings.Builder
	for {
		at := strings.Index(s, word)
		if at < 0 {
			b.WriteString(s)
			return b.String()
		}
		end := at + len(word)
		b.WriteString(s[:at])
		if isPartOfWord(s[:at], s[end:]) {
			b.WriteString(word)
		} else {
			b.WriteString(by)
		}
		s = s[end:]
	}
}

// isPartOfWord reports whether what stands around a text makes it part of a longer word.
func isPartOfWord(before, after string) bool {
	last, _ := utf8.DecodeLastRuneInString(before)
	first, _ := utf8.DecodeRuneInString(after)
	return isOfWord(last) || isOfWord(first)
}

func isOfWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// firstAddress is where the kernel is in a redacted recording. Each address follows the one that occurred before it.
const (
	firstAddress = 0xffff800000000000
	addressStep  = 16
)

// address returns what stands for an address of the kernel. The upper half of all numbers is taken for those, but for error codes
// (MAX_ERRNO of include/linux/err.h).
func (p *pseudonyms) address(v uint64) uint64 {
	const maxErrno = 4095
	if v>>63 == 0 || -v <= maxErrno {
		return v
	}
	if a, ok := p.addresses[v]; ok {
		return a
	}
	a := firstAddress + addressStep*uint64(len(p.originals))
	p.addresses[v], p.originals = a, append(p.originals, v)
	return a
}

func (p *pseudonyms) cgroup(id uint64) uint64 {
	if id == 0 {
		return 0
	}
	if n, ok := p.cgroups[id]; ok {
		return n
	}
	p.cgroups[id] = uint64(len(p.cgroups) + 1)
	return p.cgroups[id]
}

// Function returns the name of the function at a redacted address.
func (p *pseudonyms) Function(addr uint64) string {
	original := addr
	if n := (addr - firstAddress) / addressStep; addr >= firstAddress && n < uint64(len(p.originals)) {
		original = p.originals[n]
	}
	if name, ok := p.known.functions[original]; ok {
		return name
	}
	return hexadecimal(addr)
}

func (p *pseudonyms) Syscall(number int) string { return p.known.Syscall(number) }

// bootParameters are those whose values stay: remedies depend on them, and they name nothing but CPUs and modes.
var bootParameters = regexp.MustCompile(`^(isolcpus|nohz|nohz_full|rcu_[a-z_]*|rcutree\.\w+|rcupdate\.\w+|irqaffinity|kthread_cpus|housekeeping|threadirqs|preempt|` +
	`skew_tick|tsc|clocksource|mitigations|nosmt|idle|intel_pstate|amd_pstate|(intel_idle|processor)\.max_cstate|nmi_watchdog|workqueue\.\w+|` +
	`transparent_hugepage|numa_balancing|default_hugepagesz|hugepagesz|hugepages|audit|mce|cpufreq\.\w+|randomize_kstack_offset)$`)

// files returns the files of the machine, the kernel's command line with the values of few parameters only.
func (p *pseudonyms) files(f Files) Files {
	const cmdline = "proc/cmdline"
	line, ok := f.Found[cmdline]
	if !ok || line.Text == "" {
		return f
	}
	var words []string
	for _, word := range strings.Fields(line.Text) {
		key, _, hasValue := strings.Cut(word, "=")
		if hasValue && !bootParameters.MatchString(key) {
			word = key + "=redacted"
		}
		words = append(words, word)
	}
	f.Found = maps.Clone(f.Found)
	f.Found[cmdline] = Content{Text: strings.Join(words, " ") + "\n"}
	return f
}
