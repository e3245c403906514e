local actions = {}
local is_suspended = obj.spec ~= nil and obj.spec.suspend == true
local failed = obj.status ~= nil and obj.status.failure ~= nil and obj.status.failure.run ~= nil
actions["reconcile"] = {["disabled"] = is_suspended}
actions["suspend"] = {["disabled"] = is_suspended}
actions["resume"] = {["disabled"] = not is_suspended}
actions["retry"] = {["disabled"] = is_suspended or not failed}
return actions
