"""A client's trace id in the log lines of its call."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.rig import daemon
from tests.rig.desk import MODERN
from tests.rig.talk import Talk

TRACE = "0af7651916cd43dd8448eb211c80319c"


def test_a_call_s_log_lines_bear_its_trace_and_others_do_not(tmp_path: Path) -> None:
    settings = f'[access]\nprincipals = {{ "uid:{os.getuid()}" = "read" }}\n[log]\nlevel = "debug"\n'
    with daemon.running(tmp_path, settings) as device, Talk(device.socket) as talk:
        meta = {**MODERN, "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
        for request_id, envelope in ((1, meta), (2, MODERN)):
            params = {"name": "models_remove", "arguments": {}, "_meta": envelope}
            message = {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params}
            talk.send(json.dumps(message).encode())
            assert talk.until(request_id)[-1]["error"]["code"] == -32602
        lines = [line for line in device.log.splitlines() if "call above tier" in line]
        assert [line.endswith(f" trace={TRACE}") for line in lines] == [True, False]
