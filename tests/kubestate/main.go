// Command kubestate says of objects what kube-state-metrics would, by its own
// library. It is a module of its own: that library takes older clients of
// Kubernetes than others here.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/klog/v2"
	"k8s.io/kube-state-metrics/v2/pkg/customresourcestate"
	"k8s.io/kube-state-metrics/v2/pkg/metric"
	"sigs.k8s.io/yaml"
)

const usage = "usage: kubestate FILE < objects, one JSON object a line; FILE is deploy/kube-state-metrics/values.yaml"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	klog.LogToStderr(false)
	klog.SetOutput(os.Stderr)
	if err := run(os.Args[1], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// values are those of the chart that are ours. Keys that mean nothing are
// errors.
type values struct {
	Rbac struct {
		ExtraRules []any `json:"extraRules"`
	} `json:"rbac"`
	CustomResourceState struct {
		Enabled bool          `json:"enabled"`
		Config  configuration `json:"config"`
	} `json:"customResourceState"`
}

type configuration struct {
	Kind string                          `json:"kind"`
	Spec customresourcestate.MetricsSpec `json:"spec"`
}

func read(path string) (*configuration, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var values values
	if err := yaml.UnmarshalStrict(text, &values); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	config := &values.CustomResourceState.Config
	if !values.CustomResourceState.Enabled || config.Kind != "CustomResourceStateMetrics" {
		return nil, fmt.Errorf("%s: customResourceState isn't enabled, or is of another kind", path)
	}
	for _, resource := range config.Spec.Resources {
		for index := range resource.Metrics {
			// Users may write Info or info; the library itself knows small letters.
			each := &resource.Metrics[index].Each
			each.Type = metric.Type(strings.ToLower(string(each.Type)))
		}
	}
	return config, nil
}

// run prints of each object the lines that would be scraped, a list on a line.
func run(file string, in io.Reader, out io.Writer) error {
	config, err := read(file)
	if err != nil {
		return err
	}
	objects, answers := json.NewDecoder(in), json.NewEncoder(out)
	answers.SetEscapeHTML(false)
	for objects.More() {
		var text json.RawMessage
		if err := objects.Decode(&text); err != nil {
			return fmt.Errorf("an object on standard input: %w", err)
		}
		// Whole numbers as integers, as clients of the API have them.
		var object map[string]any
		if err := utiljson.Unmarshal(text, &object); err != nil {
			return fmt.Errorf("an object on standard input: %w", err)
		}
		lines, err := series(config, &unstructured.Unstructured{Object: object})
		if err != nil {
			return err
		}
		if err := answers.Encode(lines); err != nil {
			return err
		}
	}
	return nil
}

func series(config *configuration, object *unstructured.Unstructured) ([]string, error) {
	lines := []string{}
	found := object.GroupVersionKind()
	for _, resource := range config.Spec.Resources {
		if customresourcestate.GroupVersionKind(found) != resource.GroupVersionKind {
			continue
		}
		factory, err := customresourcestate.NewCustomResourceMetrics(resource)
		if err != nil {
			return nil, err
		}
		for _, family := range factory.MetricFamilyGenerators() {
			for line := range strings.Lines(string(family.Generate(object).ByteSlice())) {
				lines = append(lines, strings.TrimSuffix(line, "\n"))
			}
		}
	}
	return lines, nil
}
