package job

import (
	"io"
	"os"
	"time"

	"github.com/ptracer/ptracer/cmd/ptracer/internal/flags"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/show"
)

// Refresh is how often a live table is drawn.
const Refresh = 500 * time.Millisecond

// ScreenOf is on the terminal at stderr, unless the result goes elsewhere or
// a command writes to the terminal too.
func ScreenOf(opt *flags.Options, stderr io.Writer) *show.Screen {
	_, _, commandShows := show.Terminal(os.Stdout)
	if _, _, ok := show.Terminal(stderr); !ok || opt.JSON || opt.Output != "" || len(opt.Command) > 0 && commandShows {
		return show.NewScreen(nil)
	}
	return show.NewScreen(stderr)
}
