package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// What the servers are made of: their configurations, and small programs.

func redisFor(dir string, port int) ([]string, error) {
	return []string{"redis-server", "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--dir", dir,
		"--io-threads", "2"}, nil
}

func nginxFor(dir string, port int) ([]string, error) {
	config := fmt.Sprintf(`
daemon off;
worker_processes 2;
pid %[1]s/pid;
error_log %[1]s/errors;
events { worker_connections 64; }
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	server { listen 127.0.0.1:%[2]d; root %[1]s/html; }
}
`, dir, port)
	if err := os.Mkdir(filepath.Join(dir, "html"), 0o755); err != nil {
		return nil, err
	}
	if err := write(dir, map[string]string{"nginx.conf": config, "html/index.html": "soaked\n"}); err != nil {
		return nil, err
	}
	return []string{"nginx", "-p", dir, "-e", filepath.Join(dir, "errors"), "-c", filepath.Join(dir, "nginx.conf")}, nil
}

const goServer = `package main

import (
	"fmt"
	"net/http"
	"os"
	"sort"
)

//go:noinline
func work(n int) string {
	list := make([]int, n)
	for i := range list {
		list[i] = (i * 7919) % n
	}
	sort.Ints(list)
	return fmt.Sprint("soaked ", list[n-1])
}

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		done := make(chan string)
		go func() { done <- work(300) }()
		fmt.Fprintln(w, <-done)
	})
	panic(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
`

func goFor(dir string, port int) ([]string, error) {
	if err := write(dir, map[string]string{"goserver.go": goServer}); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "goserver")
	cmd := exec.Command("go", "build", "-o", path, filepath.Join(dir, "goserver.go"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return []string{path, strconv.Itoa(port)}, nil
}

const nodeServer = `
const work = n => { const l = []; for (let i = 0; i < n; i++) l.push({ k: (i * 7919) % n }); return JSON.stringify(l.sort((a, b) => a.k - b.k)[n - 1]) }
require('http').createServer((q, r) => r.end('soaked ' + work(200) + '\n')).listen(+process.argv[2], '127.0.0.1')
`

func nodeFor(dir string, port int) ([]string, error) {
	path := filepath.Join(dir, "server.js")
	return []string{"node", path, strconv.Itoa(port)}, write(dir, map[string]string{"server.js": nodeServer})
}

const javaServer = `
import com.sun.net.httpserver.*;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;

class Server {
	public static void main(String[] a) throws Exception {
		HttpServer s = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(a[0])), 0);
		s.setExecutor(Executors.newFixedThreadPool(4));
		s.createContext("/", x -> {
			byte[] b = ("soaked " + new java.util.ArrayList<>(java.util.Collections.nCopies(100, "x")).hashCode()).getBytes();
			x.sendResponseHeaders(200, b.length);
			x.getResponseBody().write(b);
			x.close();
		});
		s.start();
	}
}
`

func javaFor(dir string, port int) ([]string, error) {
	path := filepath.Join(dir, "Server.java")
	return []string{"java", "-Xmx128m", path, strconv.Itoa(port)}, write(dir, map[string]string{"Server.java": javaServer})
}

// write writes files into a folder.
func write(dir string, files map[string]string) error {
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
