"""What OpenNebula's hook manager gives a hook of API calls."""

from __future__ import annotations

from base64 import b64encode

from storpool_addon.lab.command import Command


def api_call(script: str, kind: str, number: int, result: int = 1) -> Command:
    """As it is started: ARGUMENTS = "<kind> $API", ARGUMENTS_STDIN = "yes"."""
    parameters = "".join(
        f"<PARAMETER><POSITION>{at}</POSITION><TYPE>IN</TYPE><VALUE>{value}</VALUE></PARAMETER>"
        for at, value in ((1, "***"), (2, number), (3, "VC_POLICY=&quot;x&quot;"), (4, 1))
    )
    info = f"<CALL_INFO><RESULT>{result}</RESULT><PARAMETERS>{parameters}</PARAMETERS><EXTRA/></CALL_INFO>"
    return Command(f"hooks/storpool/{script}", (), f"{kind} ".encode() + b64encode(info.encode()))
