-- Health of a MigrationSet by the rules of kstatus, and two states for which Argo CD has a word of its own: a set that
-- is paused, and one whose plan waits for a person, are Suspended.
local health = {status = "Progressing", message = "Waiting for the operator"}

if obj.spec ~= nil and obj.spec.suspend == true then
  health.status = "Suspended"
  health.message = "spec.suspend is true"
  return health
end

-- Before the operator has looked at this generation, the rest of the status is about another.
if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return health
end

local ready, stalled
for _, condition in ipairs(obj.status.conditions or {}) do
  if condition.type == "Ready" then
    ready = condition
  elseif condition.type == "Stalled" and condition.status == "True" then
    stalled = condition
  end
end

if stalled ~= nil then
  health.status = "Degraded"
  health.message = stalled.reason .. ": " .. (stalled.message or "")
elseif ready ~= nil then
  health.message = ready.reason .. ": " .. (ready.message or "")
  if ready.status == "True" then
    health.status = "Healthy"
  elseif ready.reason == "ApprovalRequired" then
    health.status = "Suspended"
  end
end
return health
