// Command gitops says of an object what the tools of GitOps would: by kstatus'
// own library, which Flux and Helm 4 wait by, and by the Lua that Dunlin ships
// for Argo CD, run as Argo CD runs it.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"dunlin.dev/gitops/internal/argocd"
)

const usage = "usage: gitops verdicts FOLDER < objects, one JSON object a line; FOLDER is gitops/argocd/dunlin.dev/MigrationSet"

// Verdict is what is printed of each object, a line each.
type Verdict struct {
	Kstatus string        `json:"kstatus"`
	Argocd  argocd.Health `json:"argocd"`
	// Names of the actions that are offered and not disabled, sorted.
	Actions []string `json:"actions"`
}

func main() {
	if len(os.Args) != 3 || os.Args[1] != "verdicts" {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	if err := verdicts(os.Args[2], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func verdicts(folder string, in io.Reader, out io.Writer) error {
	objects, answers := json.NewDecoder(in), json.NewEncoder(out)
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
		found, err := status.Compute(&unstructured.Unstructured{Object: object})
		if err != nil {
			return fmt.Errorf("kstatus: %w", err)
		}
		health, err := argocd.HealthOf(folder, object)
		if err != nil {
			return err
		}
		actions, err := argocd.Offered(folder, object)
		if err != nil {
			return err
		}
		if err := answers.Encode(Verdict{Kstatus: string(found.Status), Argocd: health, Actions: actions}); err != nil {
			return err
		}
	}
	return nil
}
