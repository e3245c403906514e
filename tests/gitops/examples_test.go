package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	kustomize "github.com/fluxcd/kustomize-controller/api/v1"
	source "github.com/fluxcd/source-controller/api/v1"
	"sigs.k8s.io/yaml"
)

// What we tell users of Flux to write has no field that Flux doesn't know.
func TestFluxExample(t *testing.T) {
	text, err := os.ReadFile("../../gitops/flux/shop.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, document := range strings.Split(string(text), "\n---\n") {
		var about struct {
			Kind string `json:"kind"`
		}
		if err := yaml.Unmarshal([]byte(document), &about); err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, about.Kind)
		var object any
		switch about.Kind {
		case "GitRepository":
			object = &source.GitRepository{}
		case "Kustomization":
			object = &kustomize.Kustomization{}
		default:
			t.Fatalf("a kind that isn't known: %s", about.Kind)
		}
		if err := yaml.UnmarshalStrict([]byte(document), object); err != nil {
			t.Errorf("%s: %v", about.Kind, err)
		}
	}
	if strings.Join(kinds, " ") != "GitRepository Kustomization Kustomization" {
		t.Errorf("%v", kinds)
	}
}

// The patch that users of Argo CD apply has the scripts that are tested.
func TestArgocdPatchIsGenerated(t *testing.T) {
	generated, err := exec.Command("../../.ci/argocd-cm").Output()
	if err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile("../../gitops/argocd/argocd-cm.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(generated, kept) {
		t.Error("gitops/argocd/argocd-cm.yaml isn't what .ci/argocd-cm prints: run make generate, and commit it")
	}
	var patch struct {
		Data map[string]string `json:"data"`
	}
	if err := yaml.UnmarshalStrict(kept, &patch); err != nil {
		t.Fatal(err)
	}
	health, err := os.ReadFile("../../gitops/argocd/dunlin.dev/MigrationSet/health.lua")
	if err != nil {
		t.Fatal(err)
	}
	if patch.Data["resource.customizations.health.dunlin.dev_MigrationSet"] != string(health) {
		t.Error("the health in it is another script")
	}
	var actions struct {
		Discovery   string `json:"discovery.lua"`
		Definitions []struct {
			Name   string `json:"name"`
			Action string `json:"action.lua"`
		} `json:"definitions"`
	}
	if err := yaml.UnmarshalStrict([]byte(patch.Data["resource.customizations.actions.dunlin.dev_MigrationSet"]), &actions); err != nil {
		t.Fatal(err)
	}
	if len(actions.Definitions) != 4 || !strings.HasSuffix(actions.Discovery, "return actions\n") {
		t.Errorf("%+v", actions)
	}
}
