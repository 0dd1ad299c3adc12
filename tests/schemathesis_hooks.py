"""Hooks of schemathesis (PyPI) for `tests/it/openapi/described.rs`: what a run must not do, and what makes it reach more than errors.

The description's own examples name what is there, so every second request that is meant to be right is about these. Where an operation
ends what it is about, a spare is made first, once. Each answer is counted; the counts are the last line of what is printed.
"""

import atexit
import collections
import itertools
import json
import os

import requests
import schemathesis

URL, USER, PASSWORD = (os.environ[name] for name in ("LEDGE_URL", "LEDGE_USER", "LEDGE_PASSWORD"))
TSL = {
    "profile": {"productKey": "a1Spare"},
    "properties": [{"identifier": "On", "name": "On", "accessMode": "rw", "dataType": {"type": "bool", "specs": {"0": "off", "1": "on"}}}],
    "events": [],
    "services": [],
}
ROUTE = {"source": {"device": "#"}, "topic": "all", "target": "EdgeFC/helloworld"}
RULE = {"rule": {"type": "IFTTT", "action": [{"uri": "action/mq/send", "params": {"topic": "/spare"}}]}}

answers = collections.defaultdict(collections.Counter)
turns = collections.defaultdict(itertools.count)


class Elsewhere(requests.adapters.HTTPAdapter):
    """Comes from another address than schemathesis: what strangers guess there is counted against the address, and so are logins."""

    def init_poolmanager(self, *args, **kwargs):
        super().init_poolmanager(*args, source_address=("127.0.0.2", 0), **kwargs)


elsewhere = requests.Session()
elsewhere.mount("http://", Elsewhere())


def ask(method, path, body=None):
    answer = elsewhere.request(method, URL + path, json=body, auth=(USER, PASSWORD), timeout=30)
    answer.raise_for_status()
    return answer


def spare_user():
    ask("PUT", "/ledge/v1/users/spare", {"role": "viewer"})
    return {"name": "spare"}


def spare_version():
    return {"service": "EdgeFC", "number": ask("POST", "/ledge/v1/versions/EdgeFC").json()["version"]}


def spare_alias(name="spare"):
    ask("PUT", f"/ledge/v1/aliases/EdgeFC/{name}", {"version": spare_version()["number"]})
    return {"service": "EdgeFC", "name": name}


def spare_product():
    ask("PUT", "/ledge/v1/products/a1Spare", {"tsl": TSL})
    return {"key": "a1Spare"}


def spare_rule():
    ask("PUT", "/ledge/v1/rules/spare", RULE)
    return {"name": "spare"}


def spare_key():
    path = "/ledge/v1/users/operator-1/access-keys"
    # There may be as many as there can be.
    keys = ask("GET", path).json() or [ask("POST", path).json()]
    return {"name": "operator-1", "id": keys[0]["id"]}


def spare_session():
    token = ask("POST", "/2020-04-30/auth/cookies").cookies["token"]
    # It is that of schemathesis's requests only.
    elsewhere.cookies.clear()
    return {"token": token}


def spare_service():
    ask("POST", "/2016-08-15/services", {"serviceName": "Spare"})
    return {"service": "Spare"}


def spare_fc_version():
    spare = spare_version()
    return {"service": spare["service"], "version": spare["number"]}


def spare_fc_alias():
    return {"service": "EdgeFC", "alias": spare_alias("spare-2")["name"]}


def spare_trigger(name="spare"):
    config = {"cronExpression": "@every 1h", "enable": True}
    path = "/2016-08-15/services/EdgeFC/functions/helloworld/triggers"
    ask("POST", path, {"triggerName": name, "triggerType": "timer", "triggerConfig": config})
    return {"service": "EdgeFC", "function": "helloworld", "trigger": name}


def spare_async_config():
    ask("PUT", "/2016-08-15/services/EdgeFC/functions/helloworld/async-invoke-config", {"maxAsyncRetryAttempts": 1})
    return {"service": "EdgeFC", "function": "helloworld"}


def accepted():
    path = f"{URL}/2020-04-30/functions/service:EdgeFC:function:helloworld/invocations"
    answer = requests.post(path, headers={"X-Fc-Invocation-Type": "Async"}, auth=(USER, PASSWORD), timeout=30)
    return answer.headers["X-Fc-Request-Id"]


# What they end, or change beyond use, must be nobody else's.
SPARES = {
    "user_delete": spare_user,
    "user_set_password": spare_user,
    "version_delete": spare_version,
    "version_delete_alias": spare_alias,
    "product_put": lambda: {"key": "a1Spare"},
    "product_delete": spare_product,
    "rule_delete": spare_rule,
    "access_key_delete": spare_key,
    "later_logout": spare_session,
    "fc_service_delete": spare_service,
    "fc_version_delete": spare_fc_version,
    "fc_alias_delete": spare_fc_alias,
    "fc_trigger_delete": spare_trigger,
    # Going back (`version_roll_back`) takes away the one of the examples.
    "fc_trigger_get": lambda: spare_trigger("spare-2"),
    "fc_trigger_update": lambda: spare_trigger("spare-3"),
    "fc_async_config_get": spare_async_config,
    "fc_async_config_delete": spare_async_config,
    # Nothing makes another function.
    "fc_function_delete": lambda: {"function": "gone"},
}

LAMP = {"productKey": "a1Light", "deviceName": "lamp-1"}
HAPPENED = {"productKey": "a1LightSensor", "deviceName": "sensor-1", "properties": {"MeasuredIlluminance": 3}}
CONFIG = {"cronExpression": "@every 2h", "enable": True}
# Bodies that are right, for the first request of operations that chance would hardly ever find one for.
RIGHT = {
    "login_login": lambda: {"params": {"UserName": USER, "Password": PASSWORD}},
    "thing_set_properties": lambda: {"params": {**LAMP, "properties": {"LightSwitch": 1}}},
    "thing_invoke_service": lambda: {"params": {**LAMP, "method": "turn", "inputParams": {"LightSwitch": 0}}},
    "rule_test": lambda: {"rule": "night-light", "event": HAPPENED},
    "ledge_delete_route": lambda: ask("POST", "/ledge/v1/routes", ROUTE) and ROUTE,
    "fc_service_create": lambda: {"serviceName": "Made"},
    "fc_alias_create": lambda: {"aliasName": "made", "versionId": "1"},
    "fc_trigger_create": lambda: {"triggerName": "made", "triggerType": "timer", "triggerConfig": CONFIG},
    "fc_trigger_update": lambda: {"triggerConfig": CONFIG},
}


def name_of(case):
    return case.operation.definition.raw["operationId"]


def examples(case):
    parameters = case.operation.definition.raw.get("parameters") or []
    return {it["name"]: it["example"] for it in parameters if it["in"] == "path" and "example" in it}


def keep_examples(case):
    """What the examples name is needed until the end."""
    names = examples(case)
    if names and case.path_parameters and all(str(case.path_parameters.get(name)) == str(value) for name, value in names.items()):
        last = list(names)[-1]
        case.path_parameters[last] = 9 if last in ("number", "version") else "gone"


def made(make):
    """What a long run has changed before may leave no room for it, or no ground: then this one round goes without."""
    try:
        return make()
    except requests.HTTPError as error:
        if error.response.status_code not in (400, 404, 409):
            raise
        return None


def keep_user(case):
    """schemathesis learns names from answers, and so that of whoever asks: the list of users has it."""
    if (case.path_parameters or {}).get("name") == USER:
        case.path_parameters["name"] = "gone"


def is_meant_to_be_right(case):
    return case.meta is not None and case.meta.generation.mode.is_positive


@schemathesis.hook
def before_call(context, case, kwargs):
    name = name_of(case)
    if name == "fc_deploy" and case.query:
        # It would leave nothing for the rest of the run.
        case.query.pop("prune", None)
    if name == "later_bulk" and isinstance(case.body, dict) and case.body.get("BulkAction") == "Watch":
        # An answer without an end.
        case.body["BulkAction"] = "GetProperties"
    if name in SPARES:
        keep_examples(case)
    keep_user(case)
    if not os.environ.get("LEDGE_LOGGED_IN") or not is_meant_to_be_right(case):
        return
    turn = next(turns[name])
    if name in SPARES:
        if turn == 0 and case.path_parameters:
            case.path_parameters.update(made(SPARES[name]) or {})
    elif turn % 2 == 0 and case.path_parameters:
        case.path_parameters.update(examples(case))
    if turn == 0 and name in RIGHT:
        case.body = made(RIGHT[name]) or case.body
    if turn == 0 and name == "invocation_show":
        case.path_parameters["id"] = accepted()


@schemathesis.hook
def after_call(context, case, response):
    answers[name_of(case)][response.status_code] += 1


@atexit.register
def tell():
    print("\n" + json.dumps({"answers": answers}), flush=True)
