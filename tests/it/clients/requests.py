"""As much of the `requests` package as the client beside it uses, over the standard library."""

import json as _json
import urllib.error
import urllib.parse
import urllib.request


class RequestException(Exception):
    pass


class Response:
    def __init__(self, status_code, body):
        self.status_code = status_code
        self._body = body

    def json(self):
        return _json.loads(self._body)

    def raise_for_status(self):
        if self.status_code >= 400:
            raise RequestException(f"{self.status_code}: {self._body!r}")


def _send(method, url, headers, body):
    request = urllib.request.Request(url, data=body, headers=headers, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as answer:
            return Response(answer.status, answer.read())
    except urllib.error.HTTPError as refused:
        return Response(refused.code, refused.read())
    except urllib.error.URLError as error:
        raise RequestException(str(error)) from error


def get(url, params=None, headers=None):
    query = urllib.parse.urlencode(params or {})
    return _send("GET", f"{url}?{query}" if query else url, headers or {}, None)


def post(url, json=None, headers=None):
    all_headers = {"Content-Type": "application/json", **(headers or {})}
    return _send("POST", url, all_headers, _json.dumps(json).encode())
