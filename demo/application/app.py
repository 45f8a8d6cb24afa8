"""A site that keeps its own authorization while nginx serves the recordings.

It knows users and spaces. For each request for a recording, nginx sends a subrequest to /lookup
(xspace_lookup), or to /auth on a site that only needs authorization (auth_request); no byte of a
recording passes through the application. Run it with one of nginx-conf/lookup.conf,
lookup-cached.conf and auth-request.conf:

    SECRET_KEY=$(openssl rand -hex 32) \\
        gunicorn --chdir demo/application --bind 127.0.0.1:8080 app:application

PLAYS_DB is the path of the SQLite database of plays. nginx writes them to a log, and this adds them
to the database:

    touch plays.db
    nginx-conf/plays-to-sql --create sqlite:plays.db
    nginx-conf/plays-to-sql sqlite:plays.db /srv/xspace/log/plays.log
"""

import hmac
import os
import sqlite3
from contextlib import closing
from urllib.parse import quote

from flask import Flask, abort, jsonify, redirect, request, session

application = Flask(__name__)
application.secret_key = os.environ["SECRET_KEY"]
application.config.update(SESSION_COOKIE_SAMESITE="Lax", SESSION_COOKIE_HTTPONLY=True)

PLAYS_DB = quote(os.environ.get("PLAYS_DB", "/srv/xspace/plays.db"))

# A real site has these in its database, too.
USERS = {"alice": "wonderland", "bob": "builder"}

# "listeners" are the users who may listen; without it, everyone may. The title becomes part of the
# file name. "files" are paths below the directory served by nginx; without it, nginx searches for
# <id>.mp3 and so on.
SPACES = {
    "1lDxLnrWjwkGm": {"title": "Rust in production", "listeners": {"alice", "bob"}},
    "1YqKDqWqdPLGV": {"title": "Only for Alice", "files": ["2025/06/talk.mp3"],
                      "listeners": {"alice"}},
    "1OwxWYzDXjWGQ": {"title": "For everybody"},
    "1ZkKzXbYyLmGv": {"status": 410},
}


@application.post("/login")
def login():
    user = request.form.get("user", "")
    password = request.form.get("password", "")
    if not hmac.compare_digest(USERS.get(user, "").encode(), password.encode()) or not password:
        abort(403)
    session["user"] = user
    return redirect("/")


@application.post("/logout")
def logout():
    session.clear()
    return redirect("/")


@application.get("/")
def home():
    return jsonify(user=session.get("user"))


def authorized(space_id):
    """Returns the space if the client may listen to it."""
    space = SPACES.get(space_id)
    if space is None:
        abort(404)
    listeners = space.get("listeners")
    if listeners is not None:
        user = session.get("user")
        if user is None:
            abort(401)
        if user not in listeners:
            abort(403)
    return space


@application.get("/lookup")
def lookup():
    """Answers xspace_lookup: may the client listen, and to which files?"""
    space = authorized(request.args.get("id", ""))
    return {key: space[key] for key in ("title", "files", "status") if key in space}


@application.get("/auth")
def auth():
    """Answers auth_request, which knows no other refusals than 401 and 403."""
    if request.headers.get("X-Space", "") not in SPACES:
        abort(403)
    authorized(request.headers["X-Space"])
    return "", 204


@application.get("/plays")
def count_plays():
    """Returns the number of plays per space, which nginx-conf/plays-to-sql adds up."""
    # Not created if it is missing.
    with closing(sqlite3.connect(f"file:{PLAYS_DB}?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT space_id, SUM(plays) FROM plays GROUP BY space_id")
        return jsonify({space_id: plays for space_id, plays in rows if plays})
