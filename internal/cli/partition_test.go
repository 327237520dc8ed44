// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskiso/taskiso/internal/kernfs"
)

// capturedMachine makes a machine of two CPUs and returns its directory.
func capturedMachine(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for path, text := range map[string]string{
		"proc/cmdline":                    "quiet\n",
		"sys/devices/system/cpu/online":   "0-1\n",
		"sys/devices/system/cpu/possible": "0-1\n",
		"sys/kernel/mm/ksm/run":           "1\n",
		"proc/sys/kernel/random/boot_id":  "boot-1\n",
		"proc/sys/vm/stat_interval":       "1\n",
		"proc/irq/24/smp_affinity_list":   "0-1\n",
		"sys/class/net/lo/type":           "772\n",
	} {
		full := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// partitionProgram runs taskiso with this machine's files, opened so that no
// command under test can write one: only what is below --host can be changed.
func partitionProgram(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	files, err := kernfs.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	var out, errs bytes.Buffer
	p := &program{stdout: &out, stderr: &errs, files: files}
	root := p.rootCommand()
	root.SetArgs(args)
	code = p.exitStatus(root.Execute())
	return code, out.String(), errs.String()
}

func TestPartitionPlan(t *testing.T) {
	host := capturedMachine(t)
	code, out, errs := partitionProgram(t, "partition", "plan", "--host", host, "-c", "1")
	if code != 0 || !strings.Contains(out, "/sys/kernel/mm/ksm/run: 1 → 0") || errs != "" {
		t.Errorf("exit status %d, output:\n%s%s", code, out, errs)
	}
	code, out, _ = partitionProgram(t, "partition", "plan", "--host", host, "-c", "1", "--json", "--profile", "throughput")
	var plan struct {
		CPUs     string
		Settings []struct{ Name, State string }
	}
	if err := json.Unmarshal([]byte(out), &plan); code != 0 || err != nil || plan.CPUs != "1" || len(plan.Settings) == 0 {
		t.Errorf("exit status %d, %v, output:\n%s", code, err, out)
	}
	for _, s := range plan.Settings {
		if s.Name == "ksm" && s.State != "left" {
			t.Errorf("ksm is %q in the profile throughput, want left", s.State)
		}
	}
}

// TestPartitionPlanRefused: plan has the words of create, and with the partition of another name there is nothing to
// refuse.
func TestPartitionPlanRefused(t *testing.T) {
	host := capturedMachine(t)
	if code, _, errs := partitionProgram(t, "partition", "create", "--host", host, "-c", "1", "--partition", "none"); code != 0 {
		t.Fatalf("create: exit status %d, %s", code, errs)
	}
	_, out, _ := partitionProgram(t, "partition", "plan", "--host", host, "-c", "1")
	code, _, errs := partitionProgram(t, "partition", "create", "--host", host, "-c", "1")
	reason := strings.TrimPrefix(errs, "taskiso: creating partition default, nothing was changed: ")
	if code != exitFailed || !strings.HasPrefix(reason, "partition default: there is a partition of that name") {
		t.Fatalf("create: exit status %d, %s", code, errs)
	}
	if want := "Refused by \"taskiso partition create\": " + strings.TrimSpace(reason) + ".\n"; !strings.Contains(out, want) || !strings.Contains(out, "0 writes for 0 settings") {
		t.Errorf("plan printed\n%s, want %s", out, want)
	}
	_, out, _ = partitionProgram(t, "doctor", "--host", host, "-c", "1")
	if want := `Warning: "taskiso partition create" is refused as long as it is there: CPU 1: another partition has these CPUs: default.`; !strings.Contains(out, want) {
		t.Errorf("doctor printed\n%s, want %s", out, want)
	}
	code, out, _ = partitionProgram(t, "partition", "plan", "--host", host, "-c", "1", "--json", "--require", "tasks")
	if code != exitFailed {
		t.Errorf("a refused plan with a setting that is required: exit status %d", code)
	}
	validateStrictly(t, "a refused plan", "partition", "#/$defs/plan", out)
}

func TestPartitionSpecFile(t *testing.T) {
	host, spec := capturedMachine(t), filepath.Join(t.TempDir(), "spec.toml")
	write := func(text string) {
		if err := os.WriteFile(spec, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("name = \"dpdk\"\ncpus = \"0\"\n")
	code, out, _ := partitionProgram(t, "partition", "plan", "--host", host, "-f", spec, "-c", "1")
	if code != 0 || !strings.HasPrefix(out, "Partition dpdk: CPU 1 isolated") {
		t.Errorf("exit status %d, want the name of the file and the CPU of the option:\n%s", code, out)
	}
	write("cpus = \"1\"\ncpu = 2\n")
	code, _, errs := partitionProgram(t, "partition", "plan", "--host", host, "-f", spec)
	if code != exitUsage || !strings.Contains(errs, spec+`:2:1: unknown key "cpu"`) {
		t.Errorf("exit status %d, error %s", code, errs)
	}
}

func TestPartitionBoot(t *testing.T) {
	code, out, errs := partitionProgram(t, "partition", "boot", "--host", capturedMachine(t), "-c", "1")
	if code != 0 || !strings.Contains(out, "isolcpus=managed_irq,1 irqaffinity=0") || errs != "" {
		t.Errorf("exit status %d, output:\n%s%s", code, out, errs)
	}
}

func TestPartitionErrors(t *testing.T) {
	host := capturedMachine(t)
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"plan", "--host", host}, exitUsage, "no CPU given"},
		{[]string{"plan", "--host", host, "-c", "0-1"}, exitUsage, "one must be left"},
		{[]string{"plan", "--host", host, "-c", "1", "--require", "cpuset"}, exitFailed, "setting cpuset: required, but not possible here"},
		{[]string{"plan", "--host", t.TempDir(), "-c", "1"}, exitFailed, "is not a captured machine"},
		{[]string{"plan", "--host", filepath.Join(host, "none"), "-c", "1"}, exitUsage, "no such file or directory"},
		{[]string{"plan", "-c", "1", "more"}, exitUsage, "taskiso partition plan --help"},
		{[]string{"plan", "--colour"}, exitUsage, "unknown option --colour; see taskiso partition plan --help"},
		{[]string{"plam"}, exitUsage, "unknown command plam, did you mean plan?"},
		{[]string{"boot", "--host", host, "-c", "5"}, exitUsage, "this machine has only CPU 0-1"},
	} {
		code, _, errs := partitionProgram(t, append([]string{"partition"}, test.args...)...)
		if code != test.code || !strings.Contains(errs, test.want) {
			t.Errorf("%v: exit status %d, error %q, want %d with %q", test.args, code, errs, test.code, test.want)
		}
	}
}

// TestCapture writes an archive; that it serves as the machine is tested in package partition.
func TestCapture(t *testing.T) {
	file := filepath.Join(t.TempDir(), "machine.tar.gz")
	if code, _, errs := partitionProgram(t, "doctor", "--capture", file); code != 0 {
		t.Fatalf("exit status %d, error %s", code, errs)
	}
	if info, err := os.Stat(file); err != nil || info.Size() == 0 {
		t.Errorf("the archive: %v, %v", info, err)
	}
	if code, _, errs := partitionProgram(t, "doctor", "--capture", filepath.Join(file, "x")); code != exitFailed || errs == "" {
		t.Errorf("exit status %d, error %q, want %d", code, errs, exitFailed)
	}
}
