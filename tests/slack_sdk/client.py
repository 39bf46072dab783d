"""Slack's own client against our fake: what it accepts and says here, Slack accepts and says."""
import sys
import threading

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.models.blocks import HeaderBlock, PlainTextObject, SectionBlock
from slack_sdk.socket_mode import SocketModeClient
from slack_sdk.socket_mode.response import SocketModeResponse

base_url, bot_token, app_token = sys.argv[1:4]
client = WebClient(token=bot_token, base_url=base_url, retry_handlers=[])


def refused(code, call):
    try:
        call()
    except SlackApiError as error:
        assert error.response["error"] == code, error
        return error.response
    raise AssertionError(f"expected {code}")


assert client.auth_test()["team_id"] == "T0TEST"
refused("invalid_auth", WebClient(token="xoxb-wrong", base_url=base_url).auth_test)

members = [user for page in client.users_list(limit=1) for user in page["members"]]
assert [user["id"] for user in members] == ["UALICE", "UBOB"], members

channel = client.conversations_open(users="UALICE")["channel"]["id"]
assert client.conversations_open(users=["UALICE"])["channel"]["id"] == channel
refused("user_not_found", lambda: client.conversations_open(users="UNOBODY"))

metadata = {"event_type": "securitybot", "event_payload": {"key": "k#1"}}
blocks = [HeaderBlock(text="Hello"), SectionBlock(text=PlainTextObject(text="Was that you?"))]
sent = client.chat_postMessage(channel=channel, text="hello", blocks=blocks, metadata=metadata)
limited = refused("ratelimited", lambda: client.chat_postMessage(channel=channel, text="too fast"))
assert limited.status_code == 429 and int(limited.headers["Retry-After"]) >= 1
refused("channel_not_found", lambda: client.chat_postMessage(channel="D404", text="x"))
long = [HeaderBlock(text=PlainTextObject(text="x" * 150)).to_dict()]
long[0]["text"]["text"] = "x" * 151
refused("invalid_blocks", lambda: client.chat_postMessage(channel=channel, text="x", blocks=long))

found = client.conversations_history(channel=channel, include_all_metadata=True)["messages"]
assert found[0]["ts"] == sent["ts"] and found[0]["metadata"] == metadata
assert not client.conversations_history(channel=channel)["messages"][0].get("metadata")
assert not client.conversations_history(channel=channel, oldest=str(float(sent["ts"]) + 1))["messages"]

edited = client.chat_update(channel=channel, ts=sent["ts"], text="over", blocks=blocks[:1])
assert edited["ts"] == sent["ts"] and edited["message"]["edited"]["ts"]
refused("message_not_found", lambda: client.chat_update(channel=channel, ts="1.0", text="x"))

view = {"type": "modal", "title": {"type": "plain_text", "text": "Form"}, "blocks": [blocks[0].to_dict()]}
refused("invalid_trigger_id", lambda: client.views_open(trigger_id="never.given", view=view))

home = {"type": "home", "blocks": [blocks[0].to_dict()]}
assert client.views_publish(user_id="UALICE", view=home)["view"]["id"]
refused("user_not_found", lambda: client.views_publish(user_id="UNOBODY", view=home))
refused("invalid_arguments", lambda: client.views_publish(user_id="UALICE", view=view))

client.files_upload_v2(filename="chart.png", content=b"\x89PNG", channel=channel)
place = client.files_getUploadURLExternal(filename="chart.png", length=4)
refused("file_not_found", lambda: client.files_completeUploadExternal(files=[{"id": place["file_id"]}]))

got = threading.Event()
socket = SocketModeClient(app_token=app_token, web_client=client)


def listen(socket, request):
    if request.type == "interactive":
        view_id = client.views_open(trigger_id=request.payload["trigger_id"], view=view)["view"]["id"]
        refused("exchanged_trigger_id",
                lambda: client.views_open(trigger_id=request.payload["trigger_id"], view=view))
        payload = {"response_action": "errors", "errors": {"code": view_id}}
        socket.send_socket_mode_response(
            SocketModeResponse(envelope_id=request.envelope_id, payload=payload))
        got.set()
    elif request.payload["event"]["text"] == "hello there":
        socket.send_socket_mode_response(SocketModeResponse(envelope_id=request.envelope_id))


socket.socket_mode_request_listeners.append(listen)
socket.connect()
print("listening", flush=True)
assert got.wait(20), "no envelope"
socket.close()
print("done", flush=True)
