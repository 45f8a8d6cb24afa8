#!/usr/bin/env python3
"""Prints links.json, the vectors of links: python3 model/vectors/links.py > model/vectors/links.json

It is written from docs/links.md with Python's standard library alone, so that a fault of the module
and of its signers would have to be made twice.
"""

import base64
import hashlib
import hmac
import json

KEYS = {
    "k1": bytes(range(32)),
    "next": bytes(range(100, 164)),
    "old_Key-2024": hashlib.sha256(b"old").digest() * 4,
    # Not among those of the module.
    "k9": bytes(range(32)),
}
LINES = [
    "k1 hex:" + KEYS["k1"].hex(),
    "next base64:" + base64.b64encode(KEYS["next"]).decode(),
    "old_Key-2024 hex:" + KEYS["old_Key-2024"].hex().upper(),
]

SPACE, OTHER = "1lDxLnrWjwkGm", "1YqKDqWqdPLGV"
EXPIRY = 1900000000
BEFORE = EXPIRY - 10
# A session, and a time at which it is good and the link is not.
UNTIL, END, LATER = EXPIRY + 600, EXPIRY + 86400, EXPIRY + 500
CLIENT = "192.0.2.7"
NET4, NET6 = "cb0071", "20010db8000000ff"


def signed(lines, key):
    text = "".join(f"{line}\n" for line in lines)
    digest = hmac.new(KEYS[key], text.encode(), hashlib.sha256).digest()
    return text, base64.urlsafe_b64encode(digest).decode().rstrip("=")


def token(key="k1", expiry=EXPIRY, space=SPACE, format="-", subject="-", net="-", by=None):
    _, mac = signed(["xspace-link", key, expiry, space, format, subject, net], by or key)
    return f"1.{key}.{expiry}.{format}.{subject}.{net}.{mac}"


def session(key="k1", expiry=UNTIL, end=END, space=SPACE, format="-", subject="-", net="-"):
    _, mac = signed(["xspace-session", key, expiry, end, format, subject, net, space], key)
    return f"1.{key}.{expiry}.{end}.{format}.{subject}.{net}.{mac}"


def cookie(value, space=SPACE, format="-", prefix="xspace"):
    return f"{prefix}.{space}.{format}={value}"


def mac_of(credential):
    return credential.rsplit(".", 1)[1]


def link(name, key="k1", expiry=EXPIRY, space=SPACE, format="-", subject="-", net="-"):
    text, _ = signed(["xspace-link", key, expiry, space, format, subject, net], key)
    return {
        "name": name, "key": key, "expiry": expiry, "space": space, "format": format,
        "subject": subject, "net": net, "text": text,
        "token": token(key, expiry, space, format, subject, net),
    }


def request(name, token, status, cookies=(), now=BEFORE, space=SPACE, format="", client=CLIENT,
            needs_net=False, subject=""):
    return {
        "name": name, "token": token, "now": now, "space": space, "format": format,
        "client": client, "needs_net": needs_net, "cookies": list(cookies), "status": status,
        "subject": subject,
    }


LONGEST = {"key": "old_Key-2024", "expiry": 999999999999, "space": "A" * 128, "format": "f" * 16,
           "subject": "s" * 64, "net": "f" * 16}
ALL4 = {"format": "mp3", "subject": "user_7", "net": NET4}
ALL6 = {"format": "mp3", "subject": "user_7", "net": NET6}
OLD = {"key": "old_Key-2024", "format": "m4a", "subject": "a", "net": "000000"}

LINKS = [
    link("all optional fields empty"),
    link("all fields, IPv4", **ALL4),
    link("all fields, IPv6", **ALL6),
    link("a format", format="mp3"),
    link("a class of formats", format="audio"),
    link("a subject", subject="user_7"),
    link("an IPv4 network", net=NET4),
    link("an IPv6 network", net=NET6),
    link("a key in base64", key="next"),
    link("the longest key", **OLD),
    link("the shortest fields", expiry=1, space="x"),
    link("the longest fields", **LONGEST),
    link("letters that are also separators elsewhere", space="-_-", format="0", subject="_"),
]

GOOD = token()
MAC = mac_of(GOOD)
SESSION = session()
ALL_SESSION = session(key="next", **ALL4)


def with_mac(fields, mac=MAC):
    """A token of these fields with the MAC of another."""
    return f"{fields}.{mac}"


def good(name, token=GOOD, **of):
    return request(name, token, "ok", **of)


def bad(name, token, **of):
    return request(name, token, "bad", **of)


def of_session(name, cookies, token=GOOD, status="session", now=LATER, **of):
    """A request whose token is missing or has expired."""
    return request(name, token, status, cookies, now, **of)


REQUESTS = [
    request("no token", "", "missing"),
    good("good"),
    good("good for any format", format="mp3"),
    good("good at the second of expiry", now=EXPIRY),
    request("a second after expiry", GOOD, "expired", now=EXPIRY + 1),
    good("long before", now=0),
    good("all fields, IPv4", token(**ALL4), format="mp3", client="203.0.113.200", subject="user_7"),
    good("all fields, IPv4 mapped to IPv6", token(**ALL4), format="mp3",
         client="::ffff:203.0.113.1", subject="user_7"),
    good("all fields, IPv6", token(**ALL6), format="mp3", client="2001:db8:0:ff::1",
         subject="user_7"),
    request("another IPv4 network", token(**ALL4), "address", format="mp3", client="203.0.114.1"),
    request("another IPv6 network", token(**ALL6), "address", format="mp3",
            client="2001:db8:0:fe::1"),
    request("a net of IPv4, a client of IPv6", token(net=NET4), "address",
            client="2001:db8:0:ff::1"),
    request("a net of IPv6, a client of IPv4", token(net=NET6), "address", client="203.0.113.1"),
    request("a net, a client without an address", token(net=NET4), "address", client=None),
    good("a net is needed and there", token(net=NET4), client="203.0.113.1", needs_net=True),
    request("a net is needed and missing", GOOD, "address", needs_net=True),
    request("another format", token(format="mp3"), "format", format="m4a"),
    request("a format, none requested", token(format="mp3"), "format"),
    request("a format, an unknown one requested", token(format="mp3"), "format", format=None),
    good("any format, an unknown one requested", format=None),
    good("a class, requested so", token(format="audio"), format="audio"),
    request("a class, a format of it requested", token(format="audio"), "format", format="mp3"),
    good("a subject", token(subject="user_7"), subject="user_7"),
    good("a key in base64", token(key="next")),
    good("the longest key", token(**OLD), format="m4a", client="0.0.0.9", subject="a"),
    good("the longest fields", token(**LONGEST), space=LONGEST["space"], format=LONGEST["format"],
         client="ffff:ffff:ffff:ffff::", subject=LONGEST["subject"]),
    bad("another space", GOOD, space=OTHER),
    bad("no valid id", GOOD, space=None),
    request("an unknown key", token(key="k9"), "key"),
    request("a key's id in other letters", token(key="K1", by="k1"), "key"),
    bad("another key", token(by="next")),
    bad("another version", GOOD.replace("1.", "2.", 1)),
    bad("another expiry", with_mac(f"1.k1.{EXPIRY + 1}.-.-.-")),
    bad("another format in the token", with_mac(f"1.k1.{EXPIRY}.mp3.-.-"), format="mp3"),
    bad("another subject in the token", with_mac(f"1.k1.{EXPIRY}.-.user_7.-")),
    bad("another net in the token", with_mac(f"1.k1.{EXPIRY}.-.-.c00002")),
    # The last character has two bits that mean nothing.
    bad("spare bits of the MAC", GOOD[:-1] + chr(ord(GOOD[-1]) + 1)),
    bad("padding", GOOD + "="),
    bad("a MAC that is too short", GOOD[:-1]),
    bad("a MAC in hexadecimal",
        with_mac(f"1.k1.{EXPIRY}.-.-.-", base64.urlsafe_b64decode(MAC + "=").hex())),
    bad("no MAC", with_mac(f"1.k1.{EXPIRY}.-.-.-", "")),
    bad("a field too many", GOOD + "."),
    bad("a field too few", with_mac(f"1.k1.{EXPIRY}.-.-")),
    bad("an empty format", with_mac(f"1.k1.{EXPIRY}..-.-")),
    bad("an empty subject", with_mac(f"1.k1.{EXPIRY}.-..-")),
    bad("a format in capitals", token(format="MP3"), format="mp3"),
    bad("a net in capitals", token(net=NET4.upper()), client="203.0.113.1"),
    bad("a net of another length", token(net=NET4 + "01"), client="203.0.113.1"),
    bad("an expiry with a 0 in front", token(expiry=f"0{EXPIRY}")),
    bad("an expiry of 0", token(expiry=0), now=0),
    bad("an expiry of 13 digits", token(expiry=10**12)),
    bad("an expiry with a sign", token(expiry=f"+{EXPIRY}")),
    bad("a key id of 33 characters", token(key="k" * 33, by="k1")),
    bad("a subject of 65 characters", token(subject="s" * 65)),
    bad("a dot in the subject", token(subject="a.b")),
    bad("a percent sign", GOOD.replace("-.-.-", "%2D.%2D.%2D")),
    bad("a space behind", GOOD + " "),
    bad("a line break in the subject", token(subject="a\n-")),
    request("fields shifted: the end of one moved to the next", GOOD.replace("k1", "k", 1), "key"),
    bad("fields shifted: format and subject exchanged",
        with_mac(f"1.k1.{EXPIRY}.user7.mp3.-", mac_of(token(format="mp3", subject="user7"))),
        format="user7"),
    bad("513 bytes", "1." + "a" * 511),
    of_session("no token, a session", [cookie(SESSION)], ""),
    of_session("an expired token, a session", [cookie(SESSION)]),
    of_session("a malformed token, a session", [cookie(SESSION)], "x"),
    of_session("a session for any format", [cookie(SESSION)], format="mp3"),
    of_session("a session among other cookies", [f"a=b; {cookie(SESSION)};c=d"], ""),
    of_session("a session in a second field", ["a=b", cookie(SESSION)], ""),
    of_session("a session at the second of expiry", [cookie(SESSION)], "", now=UNTIL),
    of_session("a session a second after expiry", [cookie(SESSION)], "", "missing", UNTIL + 1),
    of_session("a session at its end", [cookie(session(expiry=UNTIL + 300, end=UNTIL))], "",
               now=UNTIL),
    of_session("a session a second after its end",
               [cookie(session(expiry=UNTIL + 300, end=UNTIL))], "", "missing", UNTIL + 1),
    of_session("a session with all fields", [cookie(ALL_SESSION, format="mp3")], format="mp3",
               client="203.0.113.9", subject="user_7"),
    of_session("a session of another format", [cookie(ALL_SESSION, format="m4a")],
               status="expired", format="m4a", client="203.0.113.9"),
    of_session("a session of another network", [cookie(ALL_SESSION, format="mp3")],
               status="expired", format="mp3", client="203.0.112.9"),
    of_session("a session without a net, which is needed", [cookie(SESSION)], status="expired",
               needs_net=True),
    of_session("a session of another space", [cookie(session(space=OTHER))], status="expired"),
    of_session("a session under the name of another space", [cookie(SESSION, space=OTHER)],
               status="expired"),
    of_session("a session under a name in other letters", [cookie(SESSION, prefix="XSPACE")],
               status="expired"),
    of_session("a comma does not separate cookies", [f"a=b,{cookie(SESSION)}"], status="expired"),
    of_session("an unknown key of a session", [cookie(session(key="k9"))], status="expired"),
    of_session("a token as a session", [cookie(GOOD)], "", "missing", BEFORE),
    of_session("a token's MAC in a session", [cookie(with_mac(f"1.k1.{UNTIL}.{END}.-.-.-"))], "",
               "missing", BEFORE),
    bad("a session as a token", SESSION, now=LATER),
    bad("a session's MAC in a token", with_mac(f"1.k1.{EXPIRY}.-.-.-", mac_of(SESSION))),
    of_session("a good session behind 7 bad ones",
               ["; ".join([cookie("x")] * 7 + [cookie(SESSION)])], ""),
    of_session("a good session behind 8 bad ones",
               ["; ".join([cookie("x")] * 8 + [cookie(SESSION)])], "", "missing"),
    request("a good token decides, whatever the session", token(subject="user_7"), "ok",
            [cookie(session(subject="someone"))], subject="user_7"),
    of_session("another end", [cookie(SESSION.replace(str(END), str(END + 1)))],
               status="expired"),
    of_session("a session in quotes", [cookie(f'"{SESSION}"')], status="expired"),
]

print(json.dumps({"keys": LINES, "links": LINKS, "requests": REQUESTS}, indent=1))
