-- Has the operator look again now, as `kubectl dunlin reconcile` does.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["dunlin.dev/reconcile"] = os.date("!%Y-%m-%dT%XZ")
return obj
