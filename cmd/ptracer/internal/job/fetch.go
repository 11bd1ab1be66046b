package job

import (
	"errors"
	"os"

	"github.com/ptracer/ptracer/cmd/ptracer/internal/exit"
	"github.com/ptracer/ptracer/symbols"
	"github.com/ptracer/ptracer/symbols/debuginfod"
)

// fetch fetches the debug file that an error says is missing, if a server is configured. It reports
// whether the file is in the cache now. The traced program runs meanwhile, unless it is a command
// that has not begun.
func (j *Job) fetch(err error) bool {
	var missing *symbols.NoSourceError
	if !errors.As(err, &missing) || missing.BuildID == "" {
		return false
	}
	c := debuginfod.FromEnv(os.Getenv)
	if len(c.Servers) == 0 {
		return false
	}
	told := int64(0)
	c.Progress = func(got, size int64) {
		if got-told < progressStep && (size == 0 || got < size) {
			return
		}
		if told = got; size > 0 {
			j.say("fetching debug information of %s: %d of %d MB", missing.Path, got>>20, size>>20)
		} else {
			j.say("fetching debug information of %s: %d MB", missing.Path, got>>20)
		}
	}
	ctx, stop := exit.UntilSignal()
	defer stop()
	if _, err := c.Fetch(ctx, missing.BuildID); err != nil {
		j.say("debug information of %s could not be fetched: %v", missing.Path, err)
		return false
	}
	return true
}

// progressStep is how much comes between two lines about it.
const progressStep = 16 << 20
