"""The vendor's own client of Function Compute (PyPI `aliyun-fc2`) against a gateway: deploys, invokes, publishes, and cleans up.

    REQUESTS_CA_BUNDLE=<data>/tls/cert.pem \
        python3 tests/fc_sdk.py https://127.0.0.1:9999 ACCESS_KEY_ID ACCESS_KEY_SECRET COMPONENT

COMPONENT is one that answers with the event it is called with, such as the test guest `misbehave`.
"""

import json
import sys
import tempfile
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


for step in [by_zip_file, invoke, versions, triggers, signed_queries, clean_up]:
    step()
    print(f"{step.__name__}: ok")

client.auth.secret += "x"
refused(403, "SignatureNotMatch", client.list_services)
print(json.dumps({"client": fc2.__version__}))
