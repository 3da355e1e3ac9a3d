"""Ray, and only Ray: executors that turn blocks into receipts. The local one is the definition, Ray must equal it.

Ray reads its environment when it is imported, so the defaults are set here, before any module of this package can
import it: token authentication, no usage statistics, no rebuilt virtual environment per worker.

Where Ray was imported before, it has read that no mode is set, and turns authentication on itself when it starts a
cluster; a mode set now it would take for one that it knows.
"""

import os
import sys

for _name, _value in {
    **({} if "ray" in sys.modules else {"RAY_AUTH_MODE": "token"}),
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}.items():
    os.environ.setdefault(_name, _value)
