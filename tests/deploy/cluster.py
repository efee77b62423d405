"""A Kubernetes API server as far as tests need one (tests/fakekube), and the real kubectl in front of it."""

import json
import ssl

import chart
import live
import programs


class Cluster:
    """`users`: [{token, user, groups, …}]; `objects`: YAML. Besides them there is `admin`, who may do everything."""

    def __init__(self, stack, users=(), objects="", name="fakekube"):
        self.stack, self.users = stack, {user["user"]: user["token"] for user in users} | {"admin": "admin-token"}
        self.state = stack.folder / name
        self.state.mkdir()
        (self.state / "users.yaml").write_text(json.dumps(list(users)))
        (self.state / "objects.yaml").write_text(objects)
        flags = ["--state", self.state, "--users", self.state / "users.yaml", "--objects", self.state / "objects.yaml", "--pod-logs", stack.pods, "--bookmark-interval", "0.5"]
        stack.start(name, [programs.program("tailwater-fakekube"), *flags])
        live.eventually("the API server answers", lambda: "ready at" in stack.log(name))
        self.url = (self.state / "url").read_text()
        self.context = ssl.create_default_context(cafile=self.state / "ca.crt")

    def ask(self, path, user=None, method=None, data=None, headers=None):
        """(status, text) of a request to the API; `user` is anonymous where none is named."""
        headers = {**({"Authorization": f"Bearer {self.users[user]}"} if user else {}), **(headers or {})}
        return live.ask(self.url + path, headers=headers, method=method, data=data, context=self.context)

    def order(self, path, method="POST", data=None):
        """What a test orders; its answer."""
        status, text = self.ask(f"/fakekube/{path}", method=method, data=(data or "").encode())
        assert status in (200, 201), f"{path}: {status} {text}"
        return json.loads(text) if text else None

    def apply(self, objects):
        self.order("objects", data=objects)

    def fault(self, **fault):
        self.order("faults", data=json.dumps(fault))

    def requests(self, user=None):
        return [one for one in self.order("requests", method="GET") if user in (None, one["user"])]

    def kubeconfig(self, user):
        return self.state / "kubeconfigs" / "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in user)

    def kubectl(self, *arguments, user="admin"):
        return chart.run(self.command(*arguments, user=user), env=self.environment)

    def command(self, *arguments, user="admin"):
        return [chart.tool("kubectl"), "--kubeconfig", self.kubeconfig(user), *arguments]

    @property
    def environment(self):
        # Discovery is cached in the home folder.
        return programs.clean_environment(HOME=str(self.state))
