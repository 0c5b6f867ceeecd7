"""What ``help`` says of each command."""

from typing import Final

USAGE: Final[dict[str, str]] = {
    "create": "create ID [PARENT] [--actor MODULE:CLASS [ARGS]]  start node ID under PARENT"
    " (-1: the controller; with --topology list or bst, which have places of their own, PARENT is"
    " accepted and ignored)",
    "exec": "exec ID COMMAND [ARGS]  let node ID do COMMAND: start, stop, time (its timer), or"
    " whatever help ID lists",
    "ping": "ping ID  1 if node ID can be reached, else 0",
    "heartbeat": "heartbeat MS | heartbeat stop  report nodes silent for 4 x MS (0 ends it)",
    "remove": "remove ID  stop and forget node ID and all nodes under it",
    "kill": "kill ID  end node ID by SIGKILL; it keeps its place until it is removed",
    "restart": "restart ID  end node ID and let its next incarnation live",
    "why": "why ID  how node ID ended last, with all that is known of it; or: ID is alive",
    "all": "all  the IDs that are not dead, in order of creation",
    "tree": "tree  all nodes, indented, with pid and state (pid 0: not a process of this host, but"
    " of one from which it has joined)",
    "audit": "audit  when all earlier lines are answered: sent N handled N failed N expired N"
    " rejected N undelivered N in-flight N, of all messages; then, where there are any,"
    " unreported N (processes that were killed: what they sent last is not known),"
    " silent N (nodes that did not answer: their last report is counted),"
    " unbalanced N (N lines SOURCE -> TARGET: sent N, accounted N follow, and an empty one)",
    "trace": "trace ID COMMAND [ARGS]  as exec, but tells the stations of the message: a line each,"
    " STATION MS since the start (encoded, credit, sent, received, queued, started, suspended,"
    " ended, answered or failed), and an empty one",
    "links": "links [ID]  the network links of all nodes: transport, how many, their paths, bytes;"
    " of node ID (-1: the controller) every stream, opened (->) or accepted (<-), the node at its"
    " other end, and its paths",
    "paths": "paths  the addresses that Multipath TCP may use, and the limits; paths add ADDRESS"
    " [dev D] [subflow] [signal] [backup] [fullmesh] [port P] [id N], paths remove ID, paths flush,"
    " paths limits [N M] (addresses to accept, further subflows), paths backup ID on|off",
    "sleep": "sleep MS  wait for MS milliseconds",
    "help": "help [COMMAND or ID]  this list, one line of it, or what node ID can do",
    "exit": "exit  stop the whole tree and leave",
}


def usage(topic: str | None) -> tuple[str, ...]:
    """Return the lines for ``topic``, or all of them.

    Raises:
        KeyError: there is no such command.
    """
    return tuple(USAGE.values()) if topic is None else (USAGE[topic],)
