-- ONGUARD_ROWS rows of 16 numbers a request, no two requests alike.
local rows = tonumber(os.getenv("ONGUARD_ROWS"))
local path = os.getenv("ONGUARD_PATH")
local row = "[5.1,3.5,1.4,0.2,5.2,3.6,1.5,0.3,5.3,3.7,1.6,0.4,5.4,3.8,1.7,0.5]"
local rest = string.rep("," .. row, rows - 1) .. "]}"
local first = '{"instances":[[%.7f,3.5,1.4,0.2,5.2,3.6,1.5,0.3,5.3,3.7,1.6,0.4,5.4,3.8,1.7,0.5]' .. rest
local length = #string.format(first, 1.0)
local head = "POST " .. path .. " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n" ..
  "Content-Length: " .. length .. "\r\n\r\n"
local whole = head .. first
local value = os.time() % 1000 * 1e-3

function request()
  value = value + 1e-7
  if value >= 9 then value = 0 end
  return string.format(whole, value)
end
