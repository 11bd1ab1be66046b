package job

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/symbols"
)

// TestFetch has a server with one debug file.
func TestFetch(t *testing.T) {
	const id = "00112233445566778899aabbccddeeff00112233"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, id) {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, "debug information")
	}))
	defer server.Close()
	defer http.DefaultClient.CloseIdleConnections()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("DEBUGINFOD_CACHE_PATH", "")
	for _, c := range []struct {
		urls string
		err  error
		want bool
		said string
	}{
		{server.URL, errors.New("another"), false, ""},
		{server.URL, &symbols.NoSourceError{Path: "/bin/x"}, false, ""},
		{"", &symbols.NoSourceError{Path: "/bin/x", BuildID: id}, false, ""},
		{server.URL, &symbols.NoSourceError{Path: "/bin/x", BuildID: strings.Repeat("ab", 20)}, false, "could not be fetched: no debuginfod server has its debug file"},
		{server.URL, fmt.Errorf("x.c:1: %w", &symbols.NoSourceError{Path: "/bin/x", BuildID: id}), true, "fetching debug information of /bin/x"},
	} {
		t.Setenv("DEBUGINFOD_URLS", c.urls)
		var said bytes.Buffer
		j := &Job{stderr: &said}
		if got := j.fetch(c.err); got != c.want || !strings.Contains(said.String(), c.said) || c.said == "" && said.Len() > 0 {
			t.Errorf("%v: %v, %q", c.err, got, said.String())
		}
	}
}
