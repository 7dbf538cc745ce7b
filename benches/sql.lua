-- A script of wrk: POST /sql with the query of `pgbench -S`, as @neondatabase/serverless sends it from Node. The
-- environment has who asks: TOKEN and CONNECTION_STRING. At the end one line tells the run as `name=number` words;
-- durations are in microseconds.

local ROWS = 1000000 -- of pgbench_accounts
local REQUESTS = 1000 -- made before the run, and sent in turn

local requests, sent = {}, 0

function init()
  wrk.method = "POST"
  wrk.headers["Authorization"] = "Bearer " .. os.getenv("TOKEN")
  wrk.headers["Neon-Connection-String"] = os.getenv("CONNECTION_STRING")
  wrk.headers["Neon-Raw-Text-Output"] = "true"
  wrk.headers["Neon-Array-Mode"] = "true"
  wrk.headers["Content-Type"] = "text/plain;charset=UTF-8"
  wrk.headers["Accept"] = "*/*"
  wrk.headers["Accept-Language"] = "*"
  wrk.headers["Accept-Encoding"] = "gzip, deflate"
  wrk.headers["Sec-Fetch-Mode"] = "cors"
  wrk.headers["User-Agent"] = "node"
  for number = 1, REQUESTS do
    local query = "SELECT abalance FROM pgbench_accounts WHERE aid = $1"
    local body = string.format('{"query":"%s","params":["%d"]}', query, math.random(ROWS))
    requests[number] = wrk.format(nil, nil, nil, body)
  end
end

function request()
  sent = sent % REQUESTS + 1
  return requests[sent]
end

-- wrk counts a status of 400 and above as an error; pgusher sends no other than these and 200.
function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.timeout + errors.status
  local line = "result requests=%d failed=%d duration=%d latency=%.1f\n"
  io.write(line:format(summary.requests, failed, summary.duration, latency.mean))
end
