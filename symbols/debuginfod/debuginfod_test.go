package debuginfod

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ptracer/ptracer/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

const id = "0123456789abcdef0123456789abcdef01234567"

// client is one whose servers answer by f; it counts how often they are asked.
func client(t *testing.T, f http.HandlerFunc) (c *Client, asked *atomic.Int32) {
	t.Helper()
	asked = new(atomic.Int32)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		f(w, r)
	}))
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		server.Close()
	})
	env := map[string]string{"DEBUGINFOD_URLS": " ftp://no.such " + server.URL + "/ ", "XDG_CACHE_HOME": t.TempDir()}
	return FromEnv(func(name string) string { return env[name] }), asked
}

// left fails if the cache has anything but one file of the id.
func left(t *testing.T, c *Client, want ...string) {
	t.Helper()
	var names []string
	_ = filepath.WalkDir(c.Cache, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, d.Name())
		}
		return nil
	})
	if strings.Join(names, " ") != strings.Join(want, " ") {
		t.Errorf("the cache has %v, not %v", names, want)
	}
}

func TestFetch(t *testing.T) {
	content := strings.Repeat("debug information ", 20000)
	c, asked := client(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/buildid/"+id+"/debuginfo" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		_, _ = io.WriteString(w, content)
	})
	var last int64
	c.Progress = func(got, size int64) { last = got }
	for range 2 {
		path, err := c.Fetch(context.Background(), id)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != content {
			t.Fatalf("%d bytes, %v", len(b), err)
		}
	}
	if asked.Load() != 1 || last != int64(len(content)) {
		t.Errorf("asked %d times, told of %d bytes of %d", asked.Load(), last, len(content))
	}
	left(t, c, "debuginfo")
}

func TestNotThere(t *testing.T) {
	c, asked := client(t, http.NotFound)
	for range 3 {
		if path, err := c.Fetch(context.Background(), id); !errors.Is(err, ErrNone) || path != "" {
			t.Errorf("%q, %v", path, err)
		}
	}
	if asked.Load() != 1 {
		t.Errorf("asked %d times", asked.Load())
	}
	// After a while the server is asked again.
	old := time.Now().Add(-2 * missed)
	if err := os.Chtimes(c.path(id), old, old); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Fetch(context.Background(), id); !errors.Is(err, ErrNone) || asked.Load() != 2 {
		t.Errorf("asked %d times, %v", asked.Load(), err)
	}
}

func TestFailures(t *testing.T) {
	for name, f := range map[string]http.HandlerFunc{
		"an error": func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusInternalServerError) },
		"too large": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat("x", 5000))
		},
		"too large, and not said": func(w http.ResponseWriter, r *http.Request) {
			for range 5 {
				_, _ = io.WriteString(w, strings.Repeat("x", 1000))
				w.(http.Flusher).Flush()
			}
		},
		"too short": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "500")
			_, _ = io.WriteString(w, "half")
		},
		"nothing comes": func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		c, _ := client(t, f)
		c.MaxSize, c.Timeout = 1000, 200*time.Millisecond
		if path, err := c.Fetch(context.Background(), id); err == nil || errors.Is(err, ErrNone) || path != "" {
			t.Errorf("%s: %q, %v", name, path, err)
		}
		left(t, c)
	}
}

// TestCancel ends a fetch that has begun.
func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	c, _ := client(t, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		cancel()
		<-r.Context().Done()
	})
	if _, err := c.Fetch(ctx, id); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	left(t, c)
}

func TestOff(t *testing.T) {
	c := FromEnv(func(name string) string { return map[string]string{"HOME": "/home/of"}[name] })
	if _, err := c.Fetch(context.Background(), id); !errors.Is(err, ErrOff) || c.Cache != "/home/of/.cache/debuginfod_client" {
		t.Errorf("%v, %s", err, c.Cache)
	}
	c, asked := client(t, http.NotFound)
	for _, id := range []string{"", "abc", "../../../etc/passwd", "0123456789ABCDEF", strings.Repeat("a", 200)} {
		if path, err := c.Fetch(context.Background(), id); err == nil || path != "" {
			t.Errorf("%q: %q, %v", id, path, err)
		}
	}
	if asked.Load() != 0 {
		t.Errorf("asked %d times for what is no build-id", asked.Load())
	}
	left(t, c)
}
