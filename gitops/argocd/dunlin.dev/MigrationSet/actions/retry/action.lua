-- Says of the failed run that it may be tried again, as `kubectl dunlin retry` does. It names the run: a later failure
-- is another, and isn't meant.
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
if obj.status ~= nil and obj.status.failure ~= nil and obj.status.failure.run ~= nil then
  obj.metadata.annotations["dunlin.dev/resolve"] = obj.status.failure.run .. "=Retry"
end
return obj
