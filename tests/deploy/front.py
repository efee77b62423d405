"""Servers that stand in front of a real one, or in its place, and do what a test wants of them."""

import http.server
import ssl
import threading

import chart
import live


class Canned:
    """An HTTP server in this process: `answer(method, path, headers)` → (status, headers, text). `seen` are the requests."""

    def __init__(self, answer, certificate=None):
        canned, self.seen = self, []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self):
                try:
                    super().handle_one_request()
                except OSError:
                    self.close_connection = True

            def reply(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                canned.seen.append((self.command, self.path, dict(self.headers), body))
                status, headers, text = answer(self.command, self.path, self.headers)
                self.send_response_only(status)
                for name, value in {"Date": self.date_time_string(), "Content-Length": str(len(text)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(text.encode())

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = reply

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.port = self.server.server_port
        self.url = f"http{'s' if certificate else ''}://127.0.0.1:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Proxy:
    """nginx before a server: what it logs of each request is `log`; `inside` goes into its location."""

    def __init__(self, stack, name, target, log="$request_method $uri", inside="", tls=None):
        self.stack, self.name, self.target, self.log_format = stack, name, target, log
        self.folder = stack.folder / name
        self.folder.mkdir()
        self.port = live.free_port()
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        self.tls = f"ssl_certificate {tls[0]}; ssl_certificate_key {tls[1]};" if tls else ""
        self.write(inside)
        stack.start(name, [chart.tool("nginx"), "-e", "stderr", "-c", self.folder / "nginx.conf", "-g", "daemon off;"])
        live.eventually(f"{name} answers", lambda: (self.folder / "nginx.pid").exists() and self.is_listening())

    def is_listening(self):
        with live.socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def write(self, inside):
        temporary = " ".join(f"{kind}_temp_path {self.folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (self.folder / "nginx.conf").write_text(
            f"worker_processes 1; user root; pid {self.folder}/nginx.pid; error_log stderr warn; events {{}}\n"
            f"http {{ {temporary} log_format seen '{self.log_format}'; access_log {self.folder}/seen.log seen; client_max_body_size 1g;\n"
            f"server {{ listen 127.0.0.1:{self.port}{' ssl' if self.tls else ''}; {self.tls}\n"
            f"location / {{ {inside} proxy_set_header Host $http_host; proxy_http_version 1.1; proxy_pass {self.target}; }} }} }}\n"
        )

    def change(self, inside):
        """Takes another configuration without losing a connection."""
        self.write(inside)
        outcome = chart.run([chart.tool("nginx"), "-e", "stderr", "-c", self.folder / "nginx.conf", "-s", "reload"])
        assert outcome.returncode == 0, outcome.stderr

    def seen(self):
        path = self.folder / "seen.log"
        return path.read_text().splitlines() if path.exists() else []
