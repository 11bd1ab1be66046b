// Package debuginfod fetches separate debug files from debuginfod servers, by build-id, and shares
// the cache of files with elfutils' and gdb's client. It is configured by the same variables of the
// environment (debuginfod-client-config(7)):
//
//	DEBUGINFOD_URLS        servers, in order, separated by blanks; none: nothing is fetched
//	DEBUGINFOD_CACHE_PATH  folder of the cache; else $XDG_CACHE_HOME/debuginfod_client, or ~/.cache
//	DEBUGINFOD_TIMEOUT     seconds in which 100 kB have to come; 90 if it is not set, 0: any time
//	DEBUGINFOD_MAXSIZE     bytes that a file may have; 0 or not set: any size
package debuginfod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ErrNone says that no server has the file.
var ErrNone = errors.New("no debuginfod server has its debug file")

// ErrOff says that no server is configured.
var ErrOff = errors.New("DEBUGINFOD_URLS is not set")

// Bounds of waiting: slow is how much has to come in the timeout, missed how long a server is not
// asked again for a file that it has not had.
const (
	defaultTimeout = 90 * time.Second
	slow           = 100 << 10
	missed         = 10 * time.Minute
)

// Client fetches files.
type Client struct {
	Servers []string
	Cache   string // folder
	Timeout time.Duration
	MaxSize int64
	// Progress is told how much of a file has come, and its size, 0 if that is not known; nil: is not
	// told.
	Progress func(got, size int64)
}

// FromEnv returns the client that variables of the environment configure.
func FromEnv(getenv func(string) string) *Client {
	c := &Client{Cache: getenv("DEBUGINFOD_CACHE_PATH"), Timeout: defaultTimeout}
	for _, url := range strings.Fields(getenv("DEBUGINFOD_URLS")) {
		if strings.HasPrefix(url, "http://") || strings.HasPrefix(url, "https://") {
			c.Servers = append(c.Servers, strings.TrimSuffix(url, "/"))
		}
	}
	if n, err := strconv.Atoi(getenv("DEBUGINFOD_TIMEOUT")); err == nil && n >= 0 {
		c.Timeout = time.Duration(n) * time.Second
	}
	if n, err := strconv.ParseInt(getenv("DEBUGINFOD_MAXSIZE"), 10, 64); err == nil && n > 0 {
		c.MaxSize = n
	}
	if c.Cache == "" {
		c.Cache = cacheFolder(getenv)
	}
	return c
}

func cacheFolder(getenv func(string) string) string {
	if dir := getenv("XDG_CACHE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "debuginfod_client")
	}
	if home := getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".cache", "debuginfod_client")
	}
	return ""
}

// Cached returns the path of a file in the cache, "" if it is not there. It asks no server.
func (c *Client) Cached(buildID string) string {
	path := c.path(buildID)
	if st, err := os.Stat(path); path == "" || err != nil || !st.Mode().IsRegular() || st.Size() == 0 {
		return ""
	}
	return path
}

// path is where the cache has a file, "" if there is no cache, or no such build-id.
func (c *Client) path(buildID string) string {
	if c.Cache == "" || len(buildID) < 8 || len(buildID) > 128 || strings.Trim(buildID, "0123456789abcdef") != "" {
		return ""
	}
	return filepath.Join(c.Cache, buildID, "debuginfo")
}

// Fetch returns the path of a file in the cache, and asks the servers for it if it is not there. The
// error is ErrOff, ErrNone, or wraps why no server could be asked.
func (c *Client) Fetch(ctx context.Context, buildID string) (string, error) {
	if path := c.Cached(buildID); path != "" {
		return path, nil
	}
	path := c.path(buildID)
	switch {
	case len(c.Servers) == 0:
		return "", ErrOff
	case path == "":
		return "", fmt.Errorf("no folder for debug files, or no build-id: %q", buildID)
	}
	if st, err := os.Stat(path); err == nil && time.Since(st.ModTime()) < missed {
		return "", ErrNone // as this or another client has noted
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	var errs []error
	for _, server := range c.Servers {
		err := c.get(ctx, server+"/buildid/"+buildID+"/debuginfo", path)
		if err == nil {
			return path, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	if len(errs) > 0 {
		return "", errors.Join(errs...)
	}
	return "", errors.Join(ErrNone, note(path))
}

// note notes that no server has a file: by an empty one.
func note(path string) error {
	_ = os.Remove(path)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil // another client has been faster
	}
	return f.Close()
}

// get fetches one file. It appears under its name when it is whole.
func (c *Client) get(ctx context.Context, url, path string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := c.watch(cancel)
	defer watch.stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "ptracer")
	if c.MaxSize > 0 {
		req.Header.Set("X-DEBUGINFOD-MAXSIZE", strconv.FormatInt(c.MaxSize, 10))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return because(ctx, err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return fs.ErrNotExist
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %s", url, resp.Status)
	case c.MaxSize > 0 && resp.ContentLength > c.MaxSize:
		return fmt.Errorf("%s: %d bytes, more than DEBUGINFOD_MAXSIZE", url, resp.ContentLength)
	}
	part, err := os.CreateTemp(filepath.Dir(path), "debuginfo.*")
	if err != nil {
		return err
	}
	err = c.copy(part, resp, watch)
	if closed := part.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(part.Name(), path)
	}
	if err != nil {
		_ = os.Remove(part.Name())
		return because(ctx, fmt.Errorf("%s: %w", url, err))
	}
	return nil
}

// because is err, or why a request was cancelled.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}

// copy writes what comes to a file.
func (c *Client) copy(to io.Writer, resp *http.Response, watch *watch) error {
	got, buf := int64(0), make([]byte, 64<<10)
	for {
		n, err := resp.Body.Read(buf)
		if n > 0 {
			if got += int64(n); c.MaxSize > 0 && got > c.MaxSize {
				return errors.New("more bytes than DEBUGINFOD_MAXSIZE")
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return err
			}
			watch.came(int64(n))
			if c.Progress != nil {
				c.Progress(got, max(resp.ContentLength, 0))
			}
		}
		switch {
		case errors.Is(err, io.EOF) && resp.ContentLength > got:
			return io.ErrUnexpectedEOF
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// watch cancels a request if too little comes.
type watch struct {
	timer *time.Timer
	every time.Duration
	due   int64 // bytes that have to come until the timer fires
}

func (c *Client) watch(cancel context.CancelCauseFunc) *watch {
	w := &watch{every: c.Timeout, due: slow}
	if c.Timeout > 0 {
		w.timer = time.AfterFunc(c.Timeout, func() { cancel(fmt.Errorf("less than %d kB in %v", slow>>10, c.Timeout)) })
	}
	return w
}

// came notes that bytes have come.
func (w *watch) came(n int64) {
	if w.due -= n; w.due <= 0 && w.timer != nil {
		w.due = slow
		w.timer.Reset(w.every)
	}
}

func (w *watch) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
}
