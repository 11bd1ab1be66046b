package bench

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ptracer/ptracer/bench/report"
)

// tree makes a root with files in it.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// TestMachine reads the kernel's descriptions of machines: a guest, a board, none.
func TestMachine(t *testing.T) {
	const flaws = "sys/devices/system/cpu/vulnerabilities/"
	for _, c := range []struct {
		files map[string]string
		want  report.Machine
	}{
		{map[string]string{
			"proc/cpuinfo":                "processor\t: 0\nmodel name\t: ACME 3000\nflags\t\t: fpu hypervisor sse\n\nprocessor\t: 1\nmodel name\t: another\n",
			"proc/sys/kernel/osrelease":   "6.18.1\n",
			"proc/loadavg":                "0.25 0.10 0.05 1/100 4242\n",
			"sys/class/dmi/id/sys_vendor": "QEMU\n", "sys/class/dmi/id/product_name": "QEMU\n",
			flaws + "srso": "Mitigation: safe RET\n", flaws + "mds": "Not affected\n", flaws + "gds": "Vulnerable: no microcode\n",
			"sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
		}, report.Machine{CPU: "ACME 3000", Kernel: "6.18.1", Virtual: "guest of a hypervisor (QEMU)", Governor: "performance", Load: "0.25",
			Mitigations: []string{"gds (vulnerable)", "srso"}}},
		{map[string]string{
			"proc/cpuinfo": "processor\t: 0\nCPU implementer\t: 0x41\nCPU variant\t: 0x3\nCPU part\t: 0xd0b\n",
		}, report.Machine{CPU: "implementer 0x41, part 0xd0b, variant 0x3", Virtual: "no sign of a hypervisor", Governor: "not told"}},
		{map[string]string{
			"proc/cpuinfo":                  "CPU part\t: 0xd0b\n",
			"sys/class/dmi/id/product_name": "KVM Virtual Machine\n",
		}, report.Machine{CPU: "implementer , part 0xd0b, variant ", Virtual: "guest of a hypervisor (KVM Virtual Machine)", Governor: "not told"}},
		{nil, report.Machine{CPU: "unknown", Virtual: "no sign of a hypervisor", Governor: "not told"}},
	} {
		got := machine(tree(t, c.files), "")
		got.Arch, got.CPUs = "", 0 // this machine's
		if d := cmp.Diff(c.want, got); d != "" {
			t.Error(d)
		}
	}
}
