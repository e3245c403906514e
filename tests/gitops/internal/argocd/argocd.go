// Package argocd runs a resource's customization as Argo CD does: gopher-lua with
// the libraries package, base and table, an os of which time and date are left, and a
// second of time.
//
// [argoproj/argo-cd util/lua/lua.go, util/lua/oslib_safe.go]
package argocd

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"time"

	lua "github.com/yuin/gopher-lua"
	luajson "layeh.com/gopher-json"
)

// Health is what a health.lua returns.
type Health struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

// Action is one that discovery.lua names.
type Action struct {
	Name     string `json:"name"`
	Disabled bool   `json:"disabled,omitempty"`
}

// HealthOf runs the folder's health.lua.
func HealthOf(folder string, object map[string]any) (Health, error) {
	var health Health
	err := run(filepath.Join(folder, "health.lua"), object, &health)
	switch health.Status {
	case "Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown":
		return health, err
	}
	if err == nil {
		err = fmt.Errorf("health.lua returned %q, which is no health", health.Status)
	}
	return health, err
}

// Actions runs the folder's discovery.lua; sorted by name.
func Actions(folder string, object map[string]any) ([]Action, error) {
	var found map[string]Action
	if err := run(filepath.Join(folder, "actions", "discovery.lua"), object, &found); err != nil {
		return nil, err
	}
	actions := make([]Action, 0, len(found))
	for name, action := range found {
		action.Name = name
		actions = append(actions, action)
	}
	sort.Slice(actions, func(a, b int) bool { return actions[a].Name < actions[b].Name })
	return actions, nil
}

// Offered names the actions that aren't disabled.
func Offered(folder string, object map[string]any) ([]string, error) {
	actions, err := Actions(folder, object)
	names := []string{}
	for _, action := range actions {
		if !action.Disabled {
			names = append(names, action.Name)
		}
	}
	return names, err
}

// Act runs an action, and returns the object as it leaves it.
func Act(folder, action string, object map[string]any) (map[string]any, error) {
	var changed map[string]any
	err := run(filepath.Join(folder, "actions", action, "action.lua"), object, &changed)
	return changed, err
}

func run(path string, object map[string]any, into any) error {
	script, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{{lua.LoadLibName, lua.OpenPackage}, {lua.BaseLibName, lua.OpenBase}, {lua.TabLibName, lua.OpenTable}} {
		call := lua.P{Fn: state.NewFunction(library.open), NRet: 0, Protect: true}
		if err := state.CallByParam(call, lua.LString(library.name)); err != nil {
			return fmt.Errorf("opening Lua's %s: %w", library.name, err)
		}
	}
	state.PreloadModule(lua.OsLibName, safeOs)
	deadline, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(deadline)
	state.SetGlobal("obj", value(state, object))
	if err := state.DoString(string(script)); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	answer, isTable := state.Get(-1).(*lua.LTable)
	if !isTable {
		return fmt.Errorf("%s returned no table", path)
	}
	text, err := luajson.Encode(answer)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s returned %s: %w", path, text, err)
	}
	return nil
}

// safeOs has the functions of os that Argo CD leaves in, as far as ours use them.
func safeOs(state *lua.LState) int {
	module := state.SetFuncs(state.NewTable(), map[string]lua.LGFunction{
		"time": func(state *lua.LState) int {
			state.Push(lua.LNumber(time.Now().Unix()))
			return 1
		},
		"date": func(state *lua.LState) int {
			if format := state.CheckString(1); format != "!%Y-%m-%dT%XZ" {
				state.RaiseError("os.date knows !%%Y-%%m-%%dT%%XZ here, not %s", format)
			}
			state.Push(lua.LString(time.Now().UTC().Format("2006-01-02T15:04:05Z")))
			return 1
		},
	})
	state.Push(module)
	return 1
}

func value(state *lua.LState, from any) lua.LValue {
	switch from := from.(type) {
	case bool:
		return lua.LBool(from)
	case float64:
		return lua.LNumber(from)
	case int64:
		return lua.LNumber(from)
	case string:
		return lua.LString(from)
	case []any:
		table := state.CreateTable(len(from), 0)
		for _, item := range from {
			table.Append(value(state, item))
		}
		return table
	case map[string]any:
		table := state.CreateTable(0, len(from))
		for key, item := range from {
			table.RawSetH(lua.LString(key), value(state, item))
		}
		return table
	default:
		return lua.LNil
	}
}
