"""The vendor's own client of Function Compute (PyPI `aliyun-fc2`) against a gateway: deploys, invokes, publishes, and cleans up.

    REQUESTS_CA_BUNDLE=<data>/tls/cert.pem \
        python3 tests/fc_sdk.py https://127.0.0.1:9999 ACCESS_KEY_ID ACCESS_KEY_SECRET COMPONENT

COMPONENT is one that answers with the event it is called with, such as the test guest `misbehave`.
"""

import io
import json
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import fc2
import requests

endpoint, key_id, secret, component = sys.argv[1:]
client = fc2.Client(endpoint=endpoint, accessKeyID=key_id, accessKeySecret=secret)


def refused(status, code, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except fc2.FcError as error:
        assert (error.status_code, error.err_code) == (status, code), error
        assert len(error.request_id) == 36, error
        return
    raise AssertionError(f"{call.__name__} was not refused")


def by_zip_file():
    made = client.create_service("Shop", description="made by the client")
    assert made.data["serviceName"] == "Shop" and made.headers["etag"], made.data
    refused(409, "ServiceAlreadyExists", client.create_service, "Shop")
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, "code.zip")
        with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as zipped:
            zipped.write(component, "echo.wasm")
        made = client.create_function(
            "Shop", "echo", "wasm", "handler", codeZipFile=str(package), memorySize=64, timeout=10,
            environmentVariables={"COLOUR": "red"}, description="an echo")
    row = made.data
    assert (row["functionName"], row["memorySize"], row["timeout"], row["runtime"]) == ("echo", 64, 10, "wasm"), row
    assert list(row["environmentVariables"]) == ["COLOUR"], row
    assert client.get_function("Shop", "echo").data == row
    assert [row["functionName"] for row in client.list_functions("Shop").data["functions"]] == ["echo"]


def invoke():
    done = client.invoke_function("Shop", "echo", payload=b"\x00hello")
    assert done.data == b"\x00hello" and len(done.headers["x-fc-request-id"]) == 36, done.data
    later = client.invoke_function("Shop", "echo", payload="later", headers={"x-fc-invocation-type": "Async"})
    assert later.data == b"" and later.headers["x-fc-request-id"], later.headers
    refused(404, "FunctionNotFound", client.invoke_function, "Shop", "nothing", payload=b"")


def versions():
    assert client.publish_version("Shop", description="first").data["versionId"] == "1"
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "echo.wasm").write_bytes(Path(component).read_bytes())
        etag = client.get_function("Shop", "echo").headers["etag"]
        refused(412, "PreconditionFailed", client.update_function, "Shop", "echo", timeout=9, headers={"if-match": "x"})
        row = client.update_function("Shop", "echo", codeDir=folder, timeout=20, headers={"if-match": etag}).data
    assert row["timeout"] == 20, row
    assert client.publish_version("Shop").data["versionId"] == "2"
    assert [row["versionId"] for row in client.list_versions("Shop").data["versions"]] == ["2", "1"]
    assert client.get_function("Shop", "echo", qualifier="1").data["timeout"] == 10
    alias = client.create_alias("Shop", "live", "1", additionalVersionWeight={"2": 0.25}).data
    assert (alias["versionId"], alias["additionalVersionWeight"]) == ("1", {"2": 0.25}), alias
    assert client.invoke_function("Shop", "echo", payload=b"hi", qualifier="live").data == b"hi"
    assert client.update_alias("Shop", "live", "2", additionalVersionWeight={}).data["versionId"] == "2"
    assert client.get_alias("Shop", "live").data["additionalVersionWeight"] == {}


def weights():
    weight = {"1": 0.4}
    client.update_alias("Shop", "live", "2", additionalVersionWeight=weight)
    assert client.list_aliases("Shop").data["aliases"][0]["additionalVersionWeight"] == weight
    for wrong in [{"1": 1.2}, {"1": 0.123}, {"1": 0.1, "3": 0.1}, {"7": 0.5}]:
        status, code = (404, "VersionNotFound") if "7" in wrong else (400, "InvalidArgument")
        refused(status, code, client.update_alias, "Shop", "live", "2", additionalVersionWeight=wrong)
    refused(409, "VersionInUse", client.delete_version, "Shop", "1")
    refused(404, "AliasNotFound", client.get_alias, "Shop", "dead")
    refused(404, "AliasNotFound", client.invoke_function, "Shop", "echo", payload=b"", qualifier="dead")
    for _ in range(20):
        assert client.invoke_function("Shop", "echo", payload=b"hi", qualifier="live").data == b"hi"


def code():
    for qualifier in [None, "1", "live"]:
        found = client.get_function_code("Shop", "echo", qualifier=qualifier).data
        package = requests.get(found["url"])
        assert package.status_code == 200 and package.headers["content-type"] == "application/zip", package.text
        with zipfile.ZipFile(io.BytesIO(package.content)) as zipped:
            assert zipped.testzip() is None and zipped.namelist() == ["echo.wasm"], zipped.namelist()
            assert zipped.read("echo.wasm") == Path(component).read_bytes()
    changed = found["url"].replace("user=admin", "user=other")
    assert changed != found["url"] and requests.get(changed).status_code == 401
    refused(404, "FunctionNotFound", client.get_function_code, "Shop", "nothing")
    # What came out goes in again.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "code.zip").write_bytes(package.content)
        row = client.update_function("Shop", "echo", codeZipFile=str(Path(folder, "code.zip"))).data
        assert (row["codeSize"], row["codeChecksum"]) == (len(package.content), found["checksum"]), (row, found)
        Path(folder, "index.py").write_text("def handler(event, context): pass")
        refused(400, "InvalidArgument", client.update_function, "Shop", "echo", codeDir=folder)


def routes():
    config = {"source": {"device": "/a1Lamp/+"}, "topic": "property", "qos": 1}
    create = ("Shop", "echo", "reports", "route", config, None, None)
    refused(400, "InvalidArgument", client.create_trigger, *create)
    # The client knows no grants: they are Ledge's own.
    path = "/2016-08-15/services/Shop/functions/echo"
    headers = client._build_common_headers("PUT", path, {})
    client._do_request("PUT", path, headers, body=json.dumps({"grants": {"subscribe": ["/sys/a1Lamp/#"]}}))
    made = client.create_trigger(*create).data
    assert (made["triggerType"], made["triggerConfig"]) == ("route", config), made
    refused(409, "TriggerAlreadyExists", client.create_trigger, *create)
    config = {"source": {"function": "Shop/echo"}, "topic": "/a/#", "qos": 0}
    row = client.update_trigger("Shop", "echo", "reports", triggerConfig=config, qualifier="live").data
    assert (row["triggerConfig"], row["qualifier"]) == (config, "live"), row
    assert client.get_trigger("Shop", "echo", "reports").data == row
    assert client.list_triggers("Shop", "echo", prefix="rep").data["triggers"] == [row]
    refused(400, "InvalidArgument", client.update_trigger, "Shop", "echo", "reports", triggerConfig={"source": {"device": "lamp"}})
    client.delete_trigger("Shop", "echo", "reports")
    refused(404, "TriggerNotFound", client.get_trigger, "Shop", "echo", "reports")


def asynchronous():
    headers = {"x-fc-invocation-type": "Async"}
    first = client.invoke_function("Shop", "echo", payload="once", headers={**headers, "x-fc-idempotency-key": "k"})
    path = "/ledge/v1/invocations/" + first.headers["x-fc-request-id"]
    for _ in range(200):
        signed = client._build_common_headers("GET", path, {}, {})
        if (state := requests.get(endpoint + path, headers=signed).json()).get("state") == "done":
            break
        time.sleep(0.05)
    else:
        raise AssertionError(state)
    again = client.invoke_function("Shop", "echo", payload="once", headers={**headers, "x-fc-idempotency-key": "k"})
    assert again.data == b"once" and again.headers["x-ledge-duplicate"] == "true", again.headers
    refused(400, "InvalidArgument", client.invoke_function, "Shop", "echo", payload="", headers={"x-fc-invocation-type": "Later"})
    refused(404, "FunctionNotFound", client.invoke_function, "Shop", "nothing", payload="", headers=headers)
    refused(200, "", client.invoke_function, "Shop", "echo", payload="error")
    unknown = [{"destinationConfig": {"onSuccess": {"destination": to}}} for to in ("x", "acs:fc:::services/Shop/functions/nothing")]
    for wrong in [{"maxAsyncRetryAttempts": 20}, {"maxAsyncEventAgeInSeconds": 0}, *unknown]:
        refused(400, "InvalidArgument", client.put_function_async_invoke_config, "Shop", "LATEST", "echo", wrong)
    refused(404, "AsyncConfigNotExists", client.get_function_async_invoke_config, "Shop", "LATEST", "echo")


def triggers():
    config = {"payload": "tick", "cronExpression": "@every 5m", "enable": True}
    client.create_trigger("Shop", "echo", "pulse", "timer", config, None, None)
    config["cronExpression"] = "CRON_TZ=Asia/Shanghai 0 0 4 * * *"
    row = client.update_trigger("Shop", "echo", "pulse", triggerConfig=config).data
    assert row["triggerConfig"] == config, row
    assert [row["triggerName"] for row in client.list_triggers("Shop", "echo").data["triggers"]] == ["pulse"]
    refused(409, "FunctionNotEmpty", client.delete_function, "Shop", "echo")
    client.delete_trigger("Shop", "echo", "pulse")
    config = {"maxAsyncRetryAttempts": 2, "maxAsyncEventAgeInSeconds": 600,
              "destinationConfig": {"onFailure": {"destination": "acs:fc:::services/Shop/functions/echo"}}}
    client.put_function_async_invoke_config("Shop", "LATEST", "echo", config)
    got = client.get_function_async_invoke_config("Shop", "LATEST", "echo").data
    assert all(got[name] == value for name, value in config.items()), got
    client.delete_function_async_invoke_config("Shop", "LATEST", "echo")


def clean_up():
    refused(409, "ServiceNotEmpty", client.delete_service, "Shop")
    client.delete_function("Shop", "echo")
    client.delete_alias("Shop", "live")
    for number in "12":
        client.delete_version("Shop", number)
    client.delete_service("Shop")
    refused(404, "ServiceNotFound", client.get_service, "Shop")
    assert client.list_services(prefix="Shop").data["services"] == []


def signed_queries():
    path, query = "/ledge/v1/versions", {"b": ["x y", "ü&="], "a": "1+1"}
    headers = client._build_common_headers("GET", path, {"x-fc-trace-id": "1"}, query)
    assert requests.get(endpoint + path, params=query, headers=headers).status_code == 200
    assert requests.get(endpoint + path, params={"a": "2"}, headers=headers).status_code == 403


for step in [by_zip_file, invoke, versions, weights, code, routes, asynchronous, triggers, signed_queries, clean_up]:
    step()
    print(f"{step.__name__}: ok")

client.auth.secret += "x"
refused(403, "SignatureNotMatch", client.list_services)
print(json.dumps({"client": fc2.__version__}))
