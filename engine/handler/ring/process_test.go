package ring

import (
	"os"
	"os/exec"
	"strconv"
	"testing"
)

// The writers run the test binary, too.
func TestMain(m *testing.M) {
	if size := os.Getenv("RING_WRITER"); size != "" {
		writer(size)
		return
	}
	os.Exit(m.Run())
}

// writer fills its ring until it is killed.
func writer(size string) {
	n, err := strconv.Atoi(size)
	if err != nil {
		panic(err)
	}
	region, err := Open(os.NewFile(3, "region"))
	if err != nil {
		panic(err)
	}
	r, err := At(region.Bytes(), 0, n)
	if err != nil {
		panic(err)
	}
	for i := 0; ; i++ {
		r.Output(record(1, i, 16+i%200), os.Getpid())
	}
}

func startWriters(t *testing.T, region *Region, n, size int) (procs []*exec.Cmd) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), "RING_WRITER="+strconv.Itoa(size))
		cmd.ExtraFiles = []*os.File{region.File()}
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		procs = append(procs, cmd)
	}
	return procs
}
