package argocd

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"sigs.k8s.io/yaml"
)

const folder = "../../../../gitops/argocd/dunlin.dev/MigrationSet"

// The shape of Argo CD's health_test.yaml.
type healthTests struct {
	Tests []struct {
		HealthStatus Health `json:"healthStatus"`
		InputPath    string `json:"inputPath"`
	} `json:"tests"`
}

// The shape of Argo CD's action_test.yaml.
type actionTests struct {
	DiscoveryTests []struct {
		InputPath string   `json:"inputPath"`
		Result    []Action `json:"result"`
	} `json:"discoveryTests"`
	ActionTests []struct {
		Action             string `json:"action"`
		InputPath          string `json:"inputPath"`
		ExpectedOutputPath string `json:"expectedOutputPath"`
	} `json:"actionTests"`
}

func read(t *testing.T, into any, path ...string) {
	t.Helper()
	bytes, err := os.ReadFile(filepath.Join(append([]string{folder}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(bytes, into); err != nil {
		t.Fatalf("%v: %v", path, err)
	}
}

func TestHealth(t *testing.T) {
	var tests healthTests
	read(t, &tests, "health_test.yaml")
	seen := map[string]bool{}
	for _, test := range tests.Tests {
		t.Run(test.InputPath, func(t *testing.T) {
			var object map[string]any
			read(t, &object, test.InputPath)
			health, err := HealthOf(folder, object)
			if err != nil || health != test.HealthStatus {
				t.Errorf("%+v, %v; want %+v", health, err, test.HealthStatus)
			}
			seen[health.Status] = true
		})
	}
	for _, status := range []string{"Healthy", "Progressing", "Degraded", "Suspended"} {
		if !seen[status] {
			t.Errorf("no test shows %s", status)
		}
	}
}

func TestDiscovery(t *testing.T) {
	var tests actionTests
	read(t, &tests, "actions", "action_test.yaml")
	if len(tests.DiscoveryTests) == 0 {
		t.Fatal("there are no tests")
	}
	for _, test := range tests.DiscoveryTests {
		t.Run(test.InputPath, func(t *testing.T) {
			var object map[string]any
			read(t, &object, "actions", test.InputPath)
			actions, err := Actions(folder, object)
			if err != nil || !reflect.DeepEqual(actions, test.Result) {
				t.Errorf("%+v, %v; want %+v", actions, err, test.Result)
			}
		})
	}
}

func TestActions(t *testing.T) {
	var tests actionTests
	read(t, &tests, "actions", "action_test.yaml")
	tried := map[string]bool{}
	for _, test := range tests.ActionTests {
		t.Run(test.Action, func(t *testing.T) {
			var object, expected map[string]any
			read(t, &object, "actions", test.InputPath)
			read(t, &expected, "actions", test.ExpectedOutputPath)
			changed, err := Act(folder, test.Action, object)
			if err != nil {
				t.Fatal(err)
			}
			if token := annotation(changed, "dunlin.dev/reconcile"); test.Action == "reconcile" && token == "" {
				t.Error("no time is written")
			}
			// A time is never the expected one.
			forget(changed, "dunlin.dev/reconcile")
			forget(expected, "dunlin.dev/reconcile")
			if !reflect.DeepEqual(changed, expected) {
				t.Errorf("%v; want %v", changed, expected)
			}
			tried[test.Action] = true
		})
	}
	scripts, err := filepath.Glob(filepath.Join(folder, "actions", "*", "action.lua"))
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no actions are found: %v", err)
	}
	for _, script := range scripts {
		if name := filepath.Base(filepath.Dir(script)); !tried[name] {
			t.Errorf("no test tries the action %s", name)
		}
	}
}

func annotations(object map[string]any) map[string]any {
	metadata, _ := object["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	return annotations
}

func annotation(object map[string]any, key string) string {
	text, _ := annotations(object)[key].(string)
	return text
}

func forget(object map[string]any, key string) {
	delete(annotations(object), key)
}
