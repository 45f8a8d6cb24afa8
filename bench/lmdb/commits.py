"""How many transactions LMDB commits in a second.

Called with a directory, the arguments of lmdb.open() as JSON, the number of entries in a transaction and
the seconds that it may take. Reads pairs of keys and values as a JSON list, which are written in turn.
"""
import json
import sys
import time

import lmdb

directory, arguments, size, seconds = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
pairs = [(key.encode(), value.encode()) for key, value in json.load(sys.stdin)]
environment = lmdb.open(directory, mode=0o666, **arguments)
commits = turn = 0
start = time.monotonic()
while (took := time.monotonic() - start) < seconds:
    with environment.begin(write=True) as transaction:
        for _ in range(size):
            transaction.put(*pairs[turn % len(pairs)])
            turn += 1
    commits += 1
print(commits / took)
