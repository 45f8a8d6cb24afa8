"""The kind of application that the module replaces: Flask behind nginx's proxy_pass.

    RECORDINGS=DIR /usr/bin/gunicorn --chdir demo/application old_application:app

It finds the file of a space and sends it in the ways that such applications did:

    /x-accel/ID            X-Accel-Redirect to the internal location /downloads/
    /send-file/ID          Flask's send_file, which supports ranges
    /ranges/ID             206 created by hand; the range is read and sent in pieces
    /ranges-in-memory/ID   206 created by hand; the whole range is read before it is sent

Each accepts ?attachment=1 and ?format=mp4|audio|video|.... It is only meant for comparison in tests
and measurements.

Settings, from the environment:

    RECORDINGS     directory of the files
    MINIMUM_SIZE   files of at most this size are skipped as unfinished; 1 MiB
    DATABASE       SQLite database with the titles, table spaces(space_id, title); none
"""

import os
import re
import sqlite3
from urllib.parse import quote

from flask import Flask, Response, redirect, request, send_file

RECORDINGS = os.environ["RECORDINGS"]
MINIMUM_SIZE = int(os.environ.get("MINIMUM_SIZE", 1024 * 1024))
DATABASE = os.environ.get("DATABASE")

# In order of preference.
MEDIA_TYPES = {
    "mp3": "audio/mpeg",
    "m4a": "audio/mp4",
    "wav": "audio/wav",
    "mp4": "video/mp4",
}
SPACE_ID = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
PIECE = 64 * 1024

app = Flask(__name__)


class Recording:
    """The file that answers a request, and what is said about it."""

    def __init__(self, space_id, extension):
        self.file = f"{space_id}.{extension}"
        self.path = os.path.join(RECORDINGS, self.file)
        self.media_type = MEDIA_TYPES[extension]
        title = clean(title_of(space_id))
        self.name = f"{title}_{self.file}" if title else self.file
        self.is_attachment = request.args.get("attachment") == "1"

    def disposition(self):
        kind = "attachment" if self.is_attachment else "inline"
        if self.name.isascii():
            return f'{kind}; filename="{self.name}"'
        plain = self.name.encode("ascii", "ignore").decode()
        return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(self.name)}"


def title_of(space_id):
    if not DATABASE:
        return ""
    with sqlite3.connect(f"file:{DATABASE}?mode=ro", uri=True) as database:
        row = database.execute(
            "SELECT title FROM spaces WHERE space_id = ?", (space_id,)
        ).fetchone()
    return (row and row[0]) or ""


def clean(title):
    kept = "".join(c for c in title if c.isalnum() or c in "_ -")
    return re.sub(r"[ -]+", "-", kept.strip())


def find(space_id):
    """The first file of the space that is in the requested format and large enough, or None."""
    if not SPACE_ID.fullmatch(space_id):
        return None
    wanted = request.args.get("format", "").lower()
    extensions = list(MEDIA_TYPES)
    if wanted in extensions:
        extensions = [wanted]
    elif wanted in ("audio", "video"):
        extensions = [e for e in extensions if MEDIA_TYPES[e].startswith(wanted)]
    for extension in extensions:
        path = os.path.join(RECORDINGS, f"{space_id}.{extension}")
        if os.path.isfile(path) and os.path.getsize(path) > MINIMUM_SIZE:
            return Recording(space_id, extension)
    return None


def missing(space_id):
    """A listener is sent to the page of the space."""
    return redirect(f"/spaces/{quote(space_id)}")


@app.get("/x-accel/<space_id>")
def x_accel(space_id):
    recording = find(space_id)
    if recording is None:
        return missing(space_id)
    response = Response()
    response.headers["X-Accel-Redirect"] = f"/downloads/{quote(recording.file)}"
    response.headers["Content-Type"] = recording.media_type
    response.headers["Content-Disposition"] = recording.disposition()
    return response


@app.get("/send-file/<space_id>")
def flask_send_file(space_id):
    recording = find(space_id)
    if recording is None:
        return missing(space_id)
    return send_file(
        recording.path,
        mimetype=recording.media_type,
        as_attachment=recording.is_attachment,
        download_name=recording.name,
        conditional=True,
    )


@app.get("/ranges/<space_id>")
def ranges_by_generator(space_id):
    return ranges_by_hand(space_id, pieces)


@app.get("/ranges-in-memory/<space_id>")
def ranges_in_memory(space_id):
    return ranges_by_hand(space_id, whole)


def ranges_by_hand(space_id, read):
    recording = find(space_id)
    if recording is None:
        return missing(space_id)
    size = os.path.getsize(recording.path)
    first, last, status = 0, size - 1, 200
    asked = re.match(r"bytes=(\d*)-(\d*)", request.headers.get("Range", ""))
    if asked and asked.group(0) != "bytes=-":
        start, end = asked.groups()
        if start:
            first = int(start)
            last = min(int(end), last) if end else last
        else:
            first = max(size - int(end), 0)
        if first > last:
            return Response(status=416, headers={"Content-Range": f"bytes */{size}"})
        status = 206
    length = last - first + 1
    response = Response(read(recording.path, first, length), status, direct_passthrough=True)
    response.headers["Content-Type"] = recording.media_type
    response.headers["Content-Disposition"] = recording.disposition()
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Content-Length"] = str(length)
    if status == 206:
        response.headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    return response


def pieces(path, first, length):
    """Gives the range piece by piece."""
    with open(path, "rb") as file:
        file.seek(first)
        while length > 0:
            piece = file.read(min(PIECE, length))
            if not piece:
                return
            length -= len(piece)
            yield piece


def whole(path, first, length):
    """Reads all of the range."""
    with open(path, "rb") as file:
        file.seek(first)
        return file.read(length)
