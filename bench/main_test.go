package bench

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/ptracer/ptracer/internal/leak"
)

// nobodyEnv makes the test binary measure by ways that need rights, and print that.
const nobodyEnv = "PTRACER_BENCH_NOBODY"

func TestMain(m *testing.M) {
	if os.Getenv(nobodyEnv) != "" {
		r, err := Run(context.Background(), Options{Quick: true, Rounds: 1, Tables: []string{TableHit}, Sites: []string{"push"},
			Ways: []string{"ptracer count", "uprobe*", "uretprobe*", "hardware*"}})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		_ = r.Text(os.Stdout, 200)
		return
	}
	leak.Main(m)
}
