"""How long a browser takes to open a report: headless Chromium, a fresh tab each time, read from its own clock.

    python experiments/report_opening.py RUN/report.html [--times 5] [--picture PLACE.png --width 1200]

`load` is the end of the load event, after which everything can be read, sorted and zoomed; `painted` is when two frames have
been drawn after it.
"""

import argparse
import base64
import json
import os
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars",
]  # fmt: skip
TIMES = """new Promise(told => requestAnimationFrame(() => requestAnimationFrame(() => {
  const n = performance.getEntriesByType("navigation")[0];
  told(JSON.stringify({parsed: n.domInteractive, load: n.loadEventEnd, painted: performance.now(),
    elements: document.querySelectorAll("*").length}));
})))"""


class Browser:
    """A headless Chromium that is spoken to over a pipe (the DevTools protocol)."""

    def __init__(self, folder):
        chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        theirs_in, self.out = os.pipe()
        self.into, theirs_out = os.pipe()
        words = [chromium, *FLAGS, f"--user-data-dir={folder}", "--remote-debugging-pipe", "about:blank"]
        shell = ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "bash", *words]
        self.process = subprocess.Popen(shell, pass_fds=(theirs_in, theirs_out), stderr=subprocess.DEVNULL)
        os.close(theirs_in)
        os.close(theirs_out)
        self.number, self.left = 0, b""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.wait()

    def say(self, method, session=None, **parameters):
        """Call a method, and wait for its answer."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        message |= {"sessionId": session} if session else {}
        os.write(self.out, json.dumps(message).encode() + b"\0")
        return self._until(lambda got: got.get("id") == self.number).get("result", {})

    def wait(self, method, session):
        """Until a tab tells of an event."""
        self._until(lambda got: got.get("method") == method and got.get("sessionId") == session)

    def open(self, url, width=1200, height=900):
        """A new tab that has loaded the page."""
        tab = self.say("Target.createTarget", url="about:blank")["targetId"]
        session = self.say("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]
        self.say("Page.enable", session)
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.say("Emulation.setDeviceMetricsOverride", session, **size)
        self.say("Page.navigate", session, url=url)
        self.wait("Page.loadEventFired", session)
        return tab, session

    def evaluate(self, session, code):
        """The value of an expression, promises awaited."""
        got = self.say("Runtime.evaluate", session, expression=code, awaitPromise=True, returnByValue=True)
        return got["result"].get("value")

    def picture(self, session, whole=True):
        """The page as PNG."""
        got = self.say("Page.captureScreenshot", session, format="png", captureBeyondViewport=whole)
        return base64.b64decode(got["data"])

    def _until(self, wanted):
        while True:
            while b"\0" not in self.left:
                part = os.read(self.into, 1 << 20)
                if not part:
                    raise SystemExit("the browser has gone")
                self.left += part
            message, _, self.left = self.left.partition(b"\0")
            got = json.loads(message)
            if wanted(got):
                return got


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--width", type=int, default=1200)
    given = parser.parse_args()
    url = given.report.resolve().as_uri()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, Browser(folder) as browser:
        found = []
        for _ in range(given.times):
            tab, session = browser.open(url, given.width)
            found.append(json.loads(browser.evaluate(session, TIMES)))
            browser.say("Target.closeTarget", targetId=tab)
        size = given.report.stat().st_size
        print(f"{given.report}: {size / 1e6:.2f} MB, {found[0]['elements']} elements, {given.times} tabs")
        for name in ("parsed", "load", "painted"):
            values = [one[name] for one in found]
            print(f"  {name:8} {min(values):5.0f} to {max(values):5.0f} ms, median {statistics.median(values):.0f}")
        if given.picture:
            _, session = browser.open(url, given.width)
            browser.evaluate(session, TIMES)
            given.picture.write_bytes(browser.picture(session))


if __name__ == "__main__":
    main()
