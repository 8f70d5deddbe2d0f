"""A process or a thread that the system refuses: which limit that is, and how to raise it."""

from __future__ import annotations

import errno
import resource

from modelward.problem import Problem, ProblemsFound

REFUSED_THREAD = "can't start new thread"  # Python does not say why
HOW = {
    errno.EAGAIN: "Raise pids.max of the cgroup (TasksMax= of systemd, --pids-limit of a container, podPidsLimit of a "
    "kubelet), or ulimit -u of the user",
    errno.ENOMEM: "Give it more memory, or let vm.overcommit_memory allow more",
    errno.EMFILE: "Raise ulimit -n (LimitNOFILE= of systemd)",
    errno.ENFILE: "Raise fs.file-max",
}


class NoProcess(ProblemsFound):
    """The system has started no process; nothing is said of what was to run in it."""


def no_process(error: OSError) -> NoProcess:
    """error: of a fork, or of a start by exec."""
    return NoProcess([_problem("the system starts no further process", error)])


def refused_thread(error: BaseException) -> Problem | None:
    """None where it is another error."""
    if not isinstance(error, RuntimeError) or REFUSED_THREAD not in str(error):
        return None
    return _problem("the system starts no further thread", OSError(errno.EAGAIN, str(error)))


def _problem(what: str, error: OSError) -> Problem:
    why = error.strerror or str(error)
    if error.filename is not None:
        why = f"{why}: {error.filename}"
    if error.errno == errno.EAGAIN:
        most, _ = resource.getrlimit(resource.RLIMIT_NPROC)
        why = f"{why}; ulimit -u is {'unlimited' if most == resource.RLIM_INFINITY else most}"
    return Problem(what, "limits of this machine", why, HOW.get(error.errno or 0, ""))
