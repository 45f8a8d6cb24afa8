"""A site of the kind that the module replaces, with accounts, a database, pages and flash messages.

    RECORDINGS=DIR DATABASE=mariadb:OPTIONS gunicorn --chdir tests/applications replaced:application

The tests put the module in front of it by the steps of docs/coming-from-flask.md.

    RECORDINGS   directory of the files
    DATABASE     mariadb:FILE or mysql:FILE with a [client] section, or sqlite:FILE
    SENDS        how a recording is sent: x-accel (X-Accel-Redirect to /protected/), send-file, or
                 by-hand (send_file, but a range is read and sent by the application); x-accel
"""

import os
import re
import sqlite3
from contextlib import closing

import pymysql
from flask import (
    Flask, Response, abort, flash, redirect, render_template_string, request, send_file, session,
    url_for,
)

RECORDINGS = os.environ["RECORDINGS"]
DATABASE, _, DATABASE_FILE = os.environ["DATABASE"].partition(":")
SENDS = os.environ.get("SENDS", "x-accel")
MINIMUM_SIZE = 1024 * 1024
TYPES = {"mp3": "audio/mpeg", "m4a": "audio/mp4", "wav": "audio/wav", "mp4": "video/mp4"}

PAGE = """<!doctype html>
<html lang="en">
<title>{{ title }}</title>
<link rel="icon" href="data:,">
{% for message in get_flashed_messages() %}<p role="alert">{{ message }}</p>{% endfor %}
<p>{{ "Signed in as " + user if user else "Not signed in" }}</p>
<h1>{{ title }}</h1>
<audio controls preload="none"><source src="/audio/{{ id }}.mp3" type="audio/mpeg"></audio>
<a href="/download/{{ id }}?attachment=1">Download</a>
"""

application = Flask(__name__)
application.secret_key = "not a secret"


def query(text, *arguments):
    """The first row, if there is one. What is written is committed."""
    if DATABASE in ("mariadb", "mysql"):
        database = pymysql.connect(read_default_file=DATABASE_FILE, autocommit=True)
    else:
        database = sqlite3.connect(DATABASE_FILE, isolation_level=None)
        text = text.replace("%s", "?")
    with closing(database), closing(database.cursor()) as cursor:
        cursor.execute(text, arguments)
        return cursor.fetchone() if text.startswith("SELECT") else None


def title_of(space_id):
    row = query("SELECT title FROM spaces WHERE space_id = %s", space_id)
    return row and row[0]


@application.after_request
def fields(response):
    """As Flask-CORS and many sites do."""
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


@application.get("/")
def home():
    return render_template_string(PAGE, title="Spaces", id="", user=session.get("user"))


@application.post("/login")
def login():
    session["user"] = request.form["user"]
    return redirect(url_for("home"))


@application.get("/spaces/<space_id>")
def space_page(space_id):
    row = query("SELECT title FROM spaces WHERE space_id = %s", space_id)
    if row is None:
        abort(404)
    return render_template_string(
        PAGE, title=row[0] or space_id, id=space_id, user=session.get("user")
    )


@application.get("/audio/<space_id>.mp3")
def audio(space_id):
    return send(space_id, ["mp3"], False)


@application.get("/download/<space_id>")
@application.get("/spaces/<space_id>/download")
def download(space_id):
    extensions = ["mp3", "m4a", "wav", "mp4"]
    wanted = request.args.get("format", "").lower()
    if wanted == "mp4":
        extensions = ["mp4"]
    elif wanted == "audio":
        extensions = ["mp3", "m4a", "wav"]
    return send(space_id, extensions, request.args.get("attachment", "0") == "1")


def send(space_id, extensions, is_attachment):
    for extension in extensions:
        path = os.path.join(RECORDINGS, f"{space_id}.{extension}")
        if os.path.exists(path) and os.path.getsize(path) > MINIMUM_SIZE:
            break
    else:
        flash("Space file not found")
        return redirect(url_for("space_page", space_id=space_id))

    # A seek is counted as another download.
    query("UPDATE spaces SET downloads = downloads + 1 WHERE space_id = %s", space_id)
    title = re.sub(r"[^\w\s-]", "", title_of(space_id) or "").strip()
    title = re.sub(r"[-\s]+", "-", title)
    name = f"{title}_{space_id}.{extension}" if title else f"{space_id}.{extension}"

    if SENDS == "x-accel":
        kind = "attachment" if is_attachment else "inline"
        response = Response(mimetype=TYPES[extension])
        response.headers["X-Accel-Redirect"] = f"/protected/{space_id}.{extension}"
        # gunicorn sends Latin-1 only.
        name = name.encode().decode("latin-1")
        response.headers["Content-Disposition"] = f'{kind}; filename="{name}"'
        return response
    if SENDS == "by-hand" and not is_attachment:
        return range_by_hand(path, TYPES[extension])
    return send_file(
        path, mimetype=TYPES[extension], as_attachment=is_attachment, download_name=name
    )


def range_by_hand(path, media_type):
    size = os.path.getsize(path)
    match = re.match(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
    if not match:
        return send_file(path, mimetype=media_type)
    first = int(match[1])
    last = int(match[2]) if match[2] else size - 1
    if first > last or last >= size:
        return Response(status=416)
    with open(path, "rb") as file:
        file.seek(first)
        response = Response(file.read(last - first + 1), 206, mimetype=media_type)
    response.headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Cache-Control"] = "no-cache"
    return response
