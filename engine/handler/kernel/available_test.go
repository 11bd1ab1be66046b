package kernel

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/ptracer/ptracer/internal/leak"
	"github.com/ptracer/ptracer/internal/skip"
)

// askEnv makes the test binary say what Available says, and nothing else.
const askEnv = "PTRACER_ASK_AVAILABLE"

func TestMain(m *testing.M) {
	if os.Getenv(askEnv) != "" {
		err := Available()
		fmt.Printf("%t %v\n", errors.Is(err, errors.ErrUnsupported), err)
		return
	}
	leak.Main(m)
}

// TestAvailableToNobody: a user without rights gets the reason.
func TestAvailableToNobody(t *testing.T) {
	if os.Getuid() != 0 {
		skip.Missing(t, "the right to become nobody")
	}
	// The user may not enter the folder that go test builds in.
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	cmd := exec.Command("/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{exe}
	cmd.Env = append(os.Environ(), askEnv+"=1")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.HasPrefix(string(out), "true ") || !strings.Contains(string(out), "needs CAP_BPF") {
		t.Errorf("%s", out)
	}
}
