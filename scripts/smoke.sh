#!/usr/bin/env bash
# Walk through a running system with curl: smoke.sh [URL]. TASKFLOW_API_KEY, if set, is sent with every call; it needs the
# scopes submit, read and operate. Ends at the first answer that is wrong: exit code 4 if it is 401 or 403, else 1.
set -euo pipefail

url=${1:-http://127.0.0.1:8080}
api=$url/api/v1
body=$(mktemp)
headers=$(mktemp)
trap 'rm -f "$body" "$headers"' EXIT
# In a file of ours alone, as everybody sees the arguments of a program.
[ -z "${TASKFLOW_API_KEY:-}" ] || printf 'Authorization: Bearer %s\n' "$TASKFLOW_API_KEY" >"$headers"

# fail WHAT [CODE]
fail() {
  echo "FAILED  $1" >&2
  head -c 2000 "$body" >&2
  echo >&2
  exit "${2:-1}"
}

# call WHAT STATUS CURL-ARGUMENTS...: the answer must have this status; its body is kept.
call() {
  local what=$1 expected=$2 status
  shift 2
  status=$(curl --silent --show-error --max-time 70 --output "$body" --write-out '%{http_code}' \
    --header @"$headers" "$@") || fail "$what: no answer"
  case $status in
    "$expected") ;;
    401 | 403) fail "$what: status $status; expected TASKFLOW_API_KEY with the scopes submit, read and operate" 4 ;;
    *) fail "$what: status $status, expected $expected" ;;
  esac
  echo "ok      $what"
}

# has TEXT: the kept body must hold it.
has() {
  grep -qF -- "$1" "$body" || fail "expected $1 in the answer"
}

# submit WHAT JSON [STATUS]: a new task; its id is left in $id.
submit() {
  call "$1" "${3:-202}" -X POST "$api/tasks" -H 'content-type: application/json' -d "$2"
  id=$(sed -n 's/^{"id":"\([^"]*\)".*/\1/p' "$body")
  [ -n "$id" ] || fail "$1: no id"
}

call "the api is ready" 200 "$url/readyz"
call "the api describes itself" 200 "$url/schema/openapi.json"
has '"openapi"'

submit "a task is accepted" '{"type":"demo","payload":{"hello":"world"},"priority":"normal"}'
call "it completes" 200 "$api/tasks/$id?wait=30"
has '"status":"completed"'
has '"echo":{"hello":"world"}'
call "its one attempt is on record" 200 "$api/tasks/$id/executions"
has '"status":"succeeded"'

submit "a task that fails once is accepted" \
  '{"type":"demo","payload":{"fail_times":1},"retry":{"strategy":"fixed","base_seconds":0.1}}'
call "it is tried again and completes" 200 "$api/tasks/$id?wait=30"
has '"status":"completed"'
has '"attempt":2'

submit "a task that always fails is accepted" '{"type":"demo","payload":{"forceFail":true},"max_attempts":1}'
call "it is given up" 200 "$api/tasks/$id?wait=30"
has '"status":"failed"'
call "its dead letter stands" 200 "$api/dead-letters?type=demo&limit=1"
has "\"task_id\":\"$id\""

submit "a task for later is accepted" '{"type":"demo","delay_seconds":3600}'
call "it can be cancelled" 200 -X POST "$api/tasks/$id/cancel"
has '"status":"cancelled"'
call "a cancelled task cannot be cancelled again" 409 -X POST "$api/tasks/$id/cancel"
has '"code":"task_finished"'

call "a wrong field is explained" 422 -X POST "$api/tasks" -H 'content-type: application/json' \
  -d '{"type":"demo","max_tries":3}'
has 'max_attempts'
call "what is not JSON is refused" 400 -X POST "$api/tasks" -H 'content-type: application/json' -d '{'
has '"code":"malformed_json"'
call "an unknown task is not found" 404 "$api/tasks/none"

echo "all well at $url"
