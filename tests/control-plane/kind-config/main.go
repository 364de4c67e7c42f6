// kind-config decodes configurations of kind as kind and kubeadm would, and starts nothing: a field that
// their published types do not have is an error. It prints a line for each file, and exits with 1
// where one is wrong.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	yamlv3 "go.yaml.in/yaml/v3"
	"k8s.io/kubernetes/cmd/kubeadm/app/apis/kubeadm/v1beta3"
	"k8s.io/kubernetes/cmd/kubeadm/app/apis/kubeadm/v1beta4"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	"sigs.k8s.io/yaml"
)

const apiVersion = "kind.x-k8s.io/v1alpha4"

func main() {
	failed := len(os.Args) < 2
	for _, file := range os.Args[1:] {
		told, err := check(file)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", file, err)
			failed = true
			continue
		}
		fmt.Printf("%s: %s\n", file, told)
	}
	if failed {
		os.Exit(1)
	}
}

func check(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	var cluster v1alpha4.Cluster
	decoder := yamlv3.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&cluster); err != nil {
		return "", err
	}
	if cluster.APIVersion != apiVersion || cluster.Kind != "Cluster" {
		return "", fmt.Errorf("apiVersion %q and kind %q are not %s and Cluster", cluster.APIVersion, cluster.Kind, apiVersion)
	}
	patches := cluster.KubeadmConfigPatches
	told := ""
	for _, node := range cluster.Nodes {
		if node.Role != v1alpha4.ControlPlaneRole && node.Role != v1alpha4.WorkerRole {
			return "", fmt.Errorf("there is no role %q", node.Role)
		}
		told += string(node.Role) + ", "
		patches = append(patches, node.KubeadmConfigPatches...)
	}
	for index, patch := range patches {
		taints, err := kubeadm([]byte(patch))
		if err != nil {
			return "", fmt.Errorf("kubeadm patch %d: %w", index, err)
		}
		told += taints
	}
	return told + "ok", nil
}

// A patch is decoded as every version that kind may have kubeadm use, unless it names one.
func kubeadm(patch []byte) (string, error) {
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := yaml.Unmarshal(patch, &head); err != nil {
		return "", err
	}
	versions := []struct {
		name  string
		kinds map[string]any
	}{
		{"kubeadm.k8s.io/v1beta3", map[string]any{
			"InitConfiguration":    &v1beta3.InitConfiguration{},
			"ClusterConfiguration": &v1beta3.ClusterConfiguration{},
			"JoinConfiguration":    &v1beta3.JoinConfiguration{},
		}},
		{"kubeadm.k8s.io/v1beta4", map[string]any{
			"InitConfiguration":    &v1beta4.InitConfiguration{},
			"ClusterConfiguration": &v1beta4.ClusterConfiguration{},
			"JoinConfiguration":    &v1beta4.JoinConfiguration{},
		}},
	}
	decoded := 0
	told := ""
	for _, version := range versions {
		if head.APIVersion != "" && head.APIVersion != version.name {
			continue
		}
		into := version.kinds[head.Kind]
		if into == nil {
			return "", fmt.Errorf("%s has no kind %q", version.name, head.Kind)
		}
		if err := yaml.UnmarshalStrict(patch, into); err != nil {
			return "", fmt.Errorf("%s: %w", version.name, err)
		}
		decoded++
		// The same in both: what a test wants to see of it.
		if join, is := into.(*v1beta4.JoinConfiguration); is {
			for _, taint := range join.NodeRegistration.Taints {
				told += fmt.Sprintf("taint %s, ", taint.ToString())
			}
		}
	}
	if decoded == 0 {
		return "", errors.New("no version of kubeadm's configuration is " + head.APIVersion)
	}
	return told, nil
}
