"""The process between us and a server: it ends the server when we end, however we end.

Run as a script, in its own session, by `process.spawn`:

    python -I -S keeper.py OWNER_PID IDENTITY ROOM COMMAND ARG...

It takes on the identity, enters the room (see `enter_room`), starts the command, prints the
command's pid as one line, and stays until every process of the command has ended, orphans too.
Its exit code is the command's, or 128 plus the number of the signal that killed it.

Each byte that arrives on standard input is the number of a signal to send to the command; the
end of standard input means that the owner closed it or died. A file descriptor that a forked
child of the owner inherited can hold that end back, so the owner's process is watched as well.

Why not a parent-death signal straight from the owner to the server: the kernel sends it when
the *thread* that started the server ends, which may be long before the process does; it is
lost with every change of credentials; and nobody would be left to end the orphans of a killed
postmaster. Here it is only the second line, for the case that the keeper itself is killed.

Standard library only, imported before the identity is taken on: the interpreter may be in a
folder that the new identity cannot read.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import resource
import select
import signal
import socket
import struct
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PR_SET_SECUREBITS = 28
PR_CAP_AMBIENT = 47
CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_REC_PRIVATE = 0x4000 | 0x40000
SIOCSIFFLAGS = 0x8914
IFF_UP = 1
PR_CAP_AMBIENT_RAISE = 2
CLONE_NEWUSER = 0x10000000
SECBIT_NO_SETUID_FIXUP = 1 << 2
CAP_DAC_READ_SEARCH = 2
CAPABILITY_VERSION_3 = 0x20080522

EXIT_IDENTITY = 97
EXIT_EXEC = 98

IMMEDIATE_SECONDS = 1.0
"""How long an immediate shutdown may take before everything is killed."""

libc = ctypes.CDLL(None, use_errno=True)


def become(identity: str, room: str) -> None:
    """Take on an identity, in a room; raises OSError.

    The identity is one of `self`, `namespace:UID:GID:OUTER`, `user:UID:GID` and `reader:UID:GID`,
    whose meaning is told in `identity`.
    """
    how, *numbers = identity.split(":")
    if how == "self":
        if room:  # only root, if only of a namespace, may make one
            enter_namespace(os.geteuid(), os.getegid())
        enter_room(room)
        return
    uid, gid, *outer = (int(number) for number in numbers)
    if how == "namespace":
        enter_namespace_of(uid, gid, *outer)
        enter_room(room)
        return
    enter_room(room)
    if how == "reader":
        # Capabilities survive the change of user, and count when access(2) is asked, which initdb
        # does before it runs postgres.
        bits = SECBIT_NO_SETUID_FIXUP
        check("prctl(PR_SET_SECUREBITS)", libc.prctl(PR_SET_SECUREBITS, bits, 0, 0, 0))
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if how == "reader":
        keep_reaching_files()


def check(what: str, result: int) -> None:
    """Raise the OSError of a C call that failed."""
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def enter_namespace_of(uid: int, gid: int, outer: int) -> None:
    """Become UID in a new user namespace, which for everybody outside is the user OUTER.

    Only root may do so, and only from outside the namespace: a child writes the maps. Within it we
    keep all capabilities until the command is executed, so that a room can still be set up.
    """
    keeper = os.getpid()
    entered, tell = os.pipe()
    child = os.fork()
    if not child:
        os.close(tell)
        try:
            if os.read(entered, 1):
                Path(f"/proc/{keeper}/uid_map").write_text(f"{uid} {outer} 1")
                Path(f"/proc/{keeper}/gid_map").write_text(f"{gid} {outer} 1")
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or errno.EPERM)
        finally:
            os._exit(errno.EPERM)
    try:
        check("unshare(CLONE_NEWUSER)", libc.unshare(CLONE_NEWUSER))
        os.write(tell, b"!")
    finally:
        os.close(tell)
        os.close(entered)
        _, status = os.waitpid(child, 0)
    if status:
        number = os.waitstatus_to_exitcode(status)
        raise OSError(number, f"no user {outer} to be had: {os.strerror(abs(number))}")
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def enter_namespace(uid: int, gid: int) -> None:
    """Become UID in a new user namespace, which is what we were for everybody outside."""
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    check("unshare(CLONE_NEWUSER)", libc.unshare(CLONE_NEWUSER))
    # The kernel wants setgroups denied before an unprivileged process may write a gid_map.
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {outer_uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {outer_gid} 1")


def enter_room(room: str) -> None:
    """Set up what only this command and its children see; it is gone when they are.

    Nothing, or `disk:BYTES:FOLDER`, a small disk of its own mounted there, or `net`, a network
    that consists of a loopback, which whoever enters it can take down.
    """
    kind, _, rest = room.partition(":")
    if kind == "disk":
        size, _, folder = rest.partition(":")
        check("unshare(CLONE_NEWNS)", libc.unshare(CLONE_NEWNS))
        check("mount(private)", libc.mount(None, b"/", None, MS_REC_PRIVATE, None))
        options = f"size={size},mode=1777".encode()
        mounted = libc.mount(b"lastseat", os.fsencode(folder), b"tmpfs", 0, options)
        check("mount(tmpfs)", mounted)
    elif kind == "net":
        check("unshare(CLONE_NEWNET)", libc.unshare(CLONE_NEWNET))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def keep_reaching_files() -> None:
    """Of root's capabilities keep one, over exec too: to enter every folder and read every file."""
    mask = 1 << CAP_DAC_READ_SEARCH
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    # effective, permitted, inheritable; once for the lower and once for the upper 32
    sets = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)
    check("capset", libc.capset(header, sets))
    raised = libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH, 0, 0)
    check("prctl(PR_CAP_AMBIENT)", raised)


def launch(command: list[str]) -> int:
    """Start the command as a child that gets an immediate shutdown when this process dies."""
    keeper = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGQUIT, 0, 0, 0)
        if os.getppid() != keeper:  # it died before the line above could take effect
            os._exit(EXIT_EXEC)
        # A shutdown by SIGQUIT before the command handles it is no reason to write a core file.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        os.execv(command[0], command)
    except OSError as error:
        os.write(2, f"cannot run {command[0]}: {error}\n".encode())
    finally:
        os._exit(EXIT_EXEC)


def reap(child: int, known: int | None) -> int | None:
    """Collect what has ended; the wait status of `child` once it is among that."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == child:
                known = status
    return known


def kill_orphans() -> None:
    """Kill and collect every child, until there is none; new orphans are children of ours."""
    with contextlib.suppress(ChildProcessError):
        while True:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                for pid in children():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                os.waitpid(-1, 0)


def children() -> list[int]:
    """The pids of this process's children."""
    me = os.getpid()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # The command's name, in parentheses, may itself hold spaces and parentheses.
                after_name = (entry / "stat").read_text().rpartition(")")[2]
                if int(after_name.split()[1]) == me:
                    found.append(int(entry.name))
    return found


def watch(child: int, owner_fd: int | None, wakeup: int) -> int:
    """Forward signals until the command or the owner has ended; the command's wait status."""
    poll = select.poll()
    for fd in (0, wakeup, owner_fd):
        if fd is not None:
            poll.register(fd, select.POLLIN)
    terminated = False

    def on_term(*_: object) -> None:
        nonlocal terminated
        terminated = True

    signal.signal(signal.SIGTERM, on_term)
    status: int | None = None
    while (status := reap(child, status)) is None:
        ready = {fd for fd, _ in poll.poll()}
        if wakeup in ready:
            os.read(wakeup, 4096)
        numbers = os.read(0, 16) if 0 in ready else None
        for number in numbers or b"":
            if (status := reap(child, status)) is None:
                os.kill(child, number)
        if numbers == b"" or owner_fd in ready or terminated:
            return end(child, wakeup, reap(child, status))
    return status


def end(child: int, wakeup: int, status: int | None) -> int:
    """Shut the command down at once, and kill it when that takes too long; its wait status."""
    if status is None:
        os.kill(child, signal.SIGQUIT)
        os.kill(child, signal.SIGCONT)  # a stopped process does not hear the first one
    while (status := reap(child, status)) is None:
        if select.select([wakeup], [], [], IMMEDIATE_SECONDS)[0]:
            os.read(wakeup, 4096)
        else:
            os.kill(child, signal.SIGKILL)
    return status


def main(arguments: list[str]) -> int:
    """Keep one command; see the module's text."""
    owner, (identity, room, *command) = int(arguments[0]), arguments[1:]
    owner_fd = None
    with contextlib.suppress(OSError):  # old kernels and sandboxes; standard input remains
        owner_fd = os.pidfd_open(owner)
    if os.getppid() != owner:  # died in the meantime, and its pid may be another's by now
        return EXIT_IDENTITY
    try:
        become(identity, room)
    except OSError as error:
        print(f"cannot run as {identity}{room and f' in {room}'}: {error}", file=sys.stderr)
        return EXIT_IDENTITY
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wakeup, wakeup_writer = os.pipe()
    os.set_blocking(wakeup_writer, False)
    signal.set_wakeup_fd(wakeup_writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    child = launch(command)
    with contextlib.suppress(BrokenPipeError):
        os.write(1, f"{child}\n".encode())
    status = watch(child, owner_fd, wakeup)
    kill_orphans()
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    # Not sys.exit: there is nothing to clean up, and the owner waits for the end.
    os._exit(main(sys.argv[1:]))
