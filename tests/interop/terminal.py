"""A program on a real terminal: `terminal.py KEYS COMMAND…` presses the keys, one each second once the program draws, and prints as
JSON what the terminal got, how the program ended and whether the terminal was given back as it was."""

import fcntl, json, os, pty, select, struct, sys, termios, time

ROWS, COLUMNS, LONGEST = 24, 80, 60
keys, command = sys.argv[1], sys.argv[2:]
pid, terminal = pty.fork()
if pid == 0:
    os.environ["TERM"] = "xterm-256color"
    # Not before the parent has said how large the terminal is.
    sys.stdin.readline()
    os.execv(command[0], command)

fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
before = termios.tcgetattr(terminal)
os.write(terminal, b"\n")
got, begun, pressed, raw = b"", time.monotonic(), 0, False
after = before
while time.monotonic() - begun < LONGEST:
    readable, _, _ = select.select([terminal], [], [], 0.2)
    try:
        after = termios.tcgetattr(terminal)
        raw = raw or not after[3] & termios.ICANON
        if readable:
            piece = os.read(terminal, 65536)
            if not piece:
                break
            if b"\x1b[?1049h" in piece and b"\x1b[?1049h" not in got:
                begun = time.monotonic()
            got += piece
    except OSError:  # the other end is closed: the program has ended
        break
    if b"\x1b[?1049h" in got and pressed < len(keys) and time.monotonic() - begun > 1 + pressed:
        os.write(terminal, keys[pressed].encode())
        pressed += 1
_, status = os.waitpid(pid, 0)
text = got.decode("utf-8", "replace")
inside, _, outside = text.rpartition("\x1b[?1049l")
print(json.dumps({
    "code": os.waitstatus_to_exitcode(status),
    "taken": "\x1b[?1049h" in text,
    "raw_meanwhile": raw,
    "given_back": "\x1b[?1049l" in text and outside.count("\x1b[?25h") > 0,
    "as_before": after[3] == before[3],
    "inside": inside,
    "outside": outside,
}))
