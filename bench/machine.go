package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/ptracer/ptracer/bench/report"
	"github.com/ptracer/ptracer/engine"
)

// machine describes where the figures come from; pinned says what will be bound to which CPU.
func machine(root, pinned string) report.Machine {
	m := report.Machine{Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Pinned: pinned,
		Kernel: file(root, "proc/sys/kernel/osrelease"), Governor: "not told"}
	var guest bool
	m.CPU, guest = processor(file(root, "proc/cpuinfo"))
	m.Virtual = "no sign of a hypervisor"
	if maker := product(root); guest || emulator(maker) {
		m.Virtual = strings.TrimSpace("guest of a hypervisor " + maker)
	}
	if g := file(root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"); g != "" {
		m.Governor = g
	}
	if f := strings.Fields(file(root, "proc/loadavg")); len(f) > 0 {
		m.Load = f[0]
	}
	m.Mitigations = mitigations(root)
	return m
}

// file returns the contents of a file without surrounding space, "" if it can't be read.
func file(root, name string) string {
	b, _ := os.ReadFile(filepath.Join(root, name))
	return strings.TrimSpace(string(b))
}

// processor finds the CPU's name in /proc/cpuinfo, and whether a hypervisor is reported there. On
// arm64 it has numbers only (arch/arm64/kernel/cpuinfo.c).
func processor(cpuinfo string) (name string, guest bool) {
	seen := map[string]string{}
	for line := range strings.Lines(cpuinfo) {
		key, value, _ := strings.Cut(line, ":")
		if key = strings.TrimSpace(key); seen[key] == "" {
			seen[key] = strings.TrimSpace(value)
		}
	}
	guest = slices.Contains(strings.Fields(seen["flags"]), "hypervisor")
	switch {
	case seen["model name"] != "":
		return seen["model name"], guest
	case seen["CPU part"] != "":
		return fmt.Sprintf("implementer %s, part %s, variant %s", seen["CPU implementer"], seen["CPU part"], seen["CPU variant"]), guest
	}
	return "unknown", guest
}

// emulator reports whether a machine with this maker is emulated, for CPUs that do not report it.
func emulator(maker string) bool {
	return slices.ContainsFunc([]string{"QEMU", "KVM", "VMware", "VirtualBox", "Xen", "Virtual Machine"},
		func(name string) bool { return strings.Contains(maker, name) })
}

// product is the firmware's name of the machine, in brackets; "" if there is none.
func product(root string) string {
	var words []string
	for _, name := range []string{"sys_vendor", "product_name"} {
		if s := file(root, "sys/class/dmi/id/"+name); s != "" && !slices.Contains(words, s) {
			words = append(words, s)
		}
	}
	if s := file(root, "sys/hypervisor/type"); s != "" {
		words = append(words, s)
	}
	if len(words) == 0 {
		return ""
	}
	return "(" + strings.Join(words, " ") + ")"
}

// mitigations returns the flaws of the CPU that the kernel mitigates, and those that it is still
// vulnerable to.
func mitigations(root string) (names []string) {
	dir := "sys/devices/system/cpu/vulnerabilities"
	entries, _ := os.ReadDir(filepath.Join(root, dir))
	for _, e := range entries {
		switch text := file(root, filepath.Join(dir, e.Name())); {
		case strings.HasPrefix(text, "Mitigation"):
			names = append(names, e.Name())
		case strings.HasPrefix(text, "Vulnerable"):
			names = append(names, e.Name()+" (vulnerable)")
		}
	}
	return names
}

// rights describes the user of this process, and what it may not do.
func rights() string {
	s := fmt.Sprintf("user %d", os.Geteuid())
	if os.Geteuid() == 0 {
		s = "root"
	}
	for _, f := range engine.Diagnose(0) {
		if !f.OK {
			s += "; " + f.Text
		}
	}
	return s
}
