"""Signs the links of the demonstration's page links.html.

nginx verifies them with the same key, so that it sends no request to this application when somebody
listens. demo/run starts it with gunicorn. KEYS is the path of the file that xspace_link_keys names,
RECORDINGS that of the list on the other page.
"""

import base64
import hashlib
import hmac
import json
import os
import time

from flask import Flask, jsonify

application = Flask(__name__)

# The application signs with the first key of the file, as nginx does.
with open(os.environ["KEYS"], encoding="ascii") as keys:
    KEY_ID, KEY = keys.readline().split()
KEY = bytes.fromhex(KEY.removeprefix("hex:"))

# How long a link is good, in seconds.
LASTS = 60


# The function of docs/links.md.
def xspace_token(key_id, key, space, expiry, format="-", subject="-", net="-"):
    lines = ["xspace-link", key_id, str(expiry), space, format, subject, net]
    text = "".join(line + "\n" for line in lines)
    mac = hmac.new(key, text.encode(), hashlib.sha256).digest()
    mac = base64.urlsafe_b64encode(mac).decode().rstrip("=")
    return ".".join(["1", key_id, str(expiry), format, subject, net, mac])


@application.get("/links.json")
def links():
    """Returns the first recording twice, each time with a link that nginx accepts for a minute."""
    with open(os.environ["RECORDINGS"], encoding="utf-8") as file:
        recording = json.load(file)[0]
    token = xspace_token(KEY_ID, KEY, recording["id"], int(time.time()) + LASTS)
    items = []
    for location, title in [("with-session", "With a session"),
                            ("without-session", "Without a session")]:
        src = f"{location}/{recording['id']}?token={token}"
        items.append({**recording, "anchor": location, "title": title, "src": src, "lasts": LASTS})
    response = jsonify(items)
    response.headers["Cache-Control"] = "no-store"
    return response
