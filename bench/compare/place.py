"""The folder of one run: certificates, files to serve, folders of processes, results."""
import grp
import os
import pwd
import shutil
import subprocess

#: Sizes of files that are served, bytes.
SIZES = [0, 1024, 4096, 16384, 102400, 131072, 1048576]
NAMES = {1024: "1k", 4096: "4k", 102400: "100k", 1048576: "1m"}
#: Every client and server that leaves its choice to OpenSSL gets the same suite and group.
OPENSSL = """openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = one
[one]
MinProtocol = TLSv1.3
Ciphersuites = TLS_AES_128_GCM_SHA256
Groups = X25519
"""


class Place:
    """Everything below one folder, which may be used again to go on with a run."""

    def __init__(self, root):
        self.root = os.path.abspath(root)
        self.samples = os.path.join(self.root, "samples.jsonl")
        self.about = os.path.join(self.root, "run.json")
        self.files = os.path.join(self.root, "files")
        self.tls = os.path.join(self.root, "tls")

    def prepare(self):
        """Makes what is not there yet."""
        for folder in (self.root, self.files, self.tls):
            os.makedirs(folder, exist_ok=True)
        for size in SIZES:
            for name in filter(None, [str(size), NAMES.get(size)]):
                self.file(name, b"x" * size)
        self.file("../tls/openssl.cnf", OPENSSL.encode())
        if not os.path.exists(self.pem()):
            self._certificate()
        return self

    def file(self, name, content):
        path = os.path.normpath(os.path.join(self.files, name))
        with open(path, "wb") as f:
            f.write(content)
        return path

    def fresh(self, name):
        """An empty folder for a process."""
        path = os.path.join(self.root, "processes", name)
        shutil.rmtree(path, ignore_errors=True)
        os.makedirs(path)
        return path

    def pem(self):
        return os.path.join(self.tls, "both.pem")

    def openssl(self):
        return os.path.join(self.tls, "openssl.cnf")

    def values(self):
        """What templates may name, beside ports."""
        return {"cert": os.path.join(self.tls, "cert.pem"), "key": os.path.join(self.tls, "key.pem"), "pem": self.pem(),
                "openssl": self.openssl(), "files": self.files, "kib": "x" * 1024, "size": SIZES, "route": [], "workers": 1,
                "user": pwd.getpwuid(os.getuid()).pw_name, "group": grp.getgrgid(os.getgid()).gr_name}

    def _certificate(self):
        """One certificate for all servers: ECDSA P-256, signed by itself."""
        cert, key = self.values()["cert"], self.values()["key"]
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650",
                   "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", cert]
        made = subprocess.run(command, capture_output=True, text=True)
        if made.returncode:
            raise SystemExit(f"no certificate: openssl says {made.stderr.strip()}")
        with open(self.pem(), "w") as both:
            for path in (cert, key):
                with open(path) as f:
                    both.write(f.read())
