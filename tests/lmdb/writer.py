"""An application that writes a catalog: a transaction for each line that it reads.

Called with a directory and the arguments of lmdb.open() as JSON. It answers each line when it is done:
"ok", or what LMDB says.
"""
import json
import os
import resource
import sys

import lmdb

os.umask(0)
directory, arguments = sys.argv[1], json.loads(sys.argv[2])
if arguments.get("create", True):
    # open() would make it with the mode of the files, and only root could use it.
    os.makedirs(directory, exist_ok=True)
environment = lmdb.open(directory, mode=0o666, **arguments)
held = None
print("ok", flush=True)
for line in sys.stdin:
    answer = "ok"
    try:
        command, *rest = json.loads(line)
        if command == "write":
            with environment.begin(write=True) as transaction:
                for key, value in rest[0].items():
                    if value is None:
                        transaction.delete(key.encode())
                    else:
                        transaction.put(key.encode(), value.encode())
        elif command == "hold":
            # A reader that takes a slot, and pages.
            held = environment.begin()
        elif command == "release":
            held.abort()
        elif command == "read":
            with environment.begin() as transaction:
                answer = (transaction.get(rest[0].encode()) or b"none").decode()
        elif command == "grow":
            environment.set_mapsize(rest[0])
        elif command == "database":
            environment.open_db(rest[0].encode())
        elif command == "readers":
            environment.reader_check()
            answer = str(environment.readers().count("\n") - 1)
        elif command == "limit":
            # As a full disk: nothing grows beyond this.
            resource.setrlimit(resource.RLIMIT_FSIZE, (rest[0], resource.RLIM_INFINITY))
        elif command == "version":
            answer = ".".join(map(str, lmdb.version()))
    except Exception as error:
        answer = f"{type(error).__name__}: {error}"
    print(answer.replace("\n", " "), flush=True)
