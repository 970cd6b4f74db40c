-- Sends the bodies of a file (one per line) in turn, starting over after the last, and prints
-- the results of wrk as one line of JSON. Usage: wrk -s bodies.lua URL -- FILE
local requests, place = {}, 0

function init(args)
  for body in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("POST", nil, {["Content-Type"] = "application/json"}, body)
  end
end

function request()
  place = place % #requests + 1
  return requests[place]
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '{"n_requests": %d, "duration_us": %d, "n_bytes": %d, "n_socket_errors": %d, "n_bad_status": %d, '
      .. '"p50_us": %.1f, "p99_us": %.1f, "max_us": %.1f}\n',
    summary.requests, summary.duration, summary.bytes, e.connect + e.read + e.write + e.timeout, e.status,
    latency:percentile(50), latency:percentile(99), latency.max))
end
