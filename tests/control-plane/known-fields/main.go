// known-fields decodes objects that no API server of ours knows, strictly: a field that their published
// types do not have is an error. These are configurations of kind with what they have for kubeadm, and
// objects of cert-manager and of the Prometheus operator. Documents of other groups are passed over.
// It prints a line for each object, and exits with 1 where one is wrong.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	certmanager "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	yamlv3 "go.yaml.in/yaml/v3"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/kubernetes/cmd/kubeadm/app/apis/kubeadm/v1beta3"
	"k8s.io/kubernetes/cmd/kubeadm/app/apis/kubeadm/v1beta4"
	kindconfig "sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	"sigs.k8s.io/yaml"
)

// What tells documents apart.
type head struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name string `json:"name"`
	} `json:"metadata"`
}

type version struct {
	name  string
	kinds map[string]func() any
}

func fresh[T any]() any { return new(T) }

var objects = []version{
	{"cert-manager.io/v1", map[string]func() any{
		"Certificate": fresh[certmanager.Certificate],
		"Issuer":      fresh[certmanager.Issuer],
	}},
	{"monitoring.coreos.com/v1", map[string]func() any{
		"PodMonitor":     fresh[monitoring.PodMonitor],
		"PrometheusRule": fresh[monitoring.PrometheusRule],
		"ServiceMonitor": fresh[monitoring.ServiceMonitor],
	}},
}

var kubeadm = []version{
	{"kubeadm.k8s.io/v1beta3", map[string]func() any{
		"InitConfiguration":    fresh[v1beta3.InitConfiguration],
		"ClusterConfiguration": fresh[v1beta3.ClusterConfiguration],
		"JoinConfiguration":    fresh[v1beta3.JoinConfiguration],
	}},
	{"kubeadm.k8s.io/v1beta4", map[string]func() any{
		"InitConfiguration":    fresh[v1beta4.InitConfiguration],
		"ClusterConfiguration": fresh[v1beta4.ClusterConfiguration],
		"JoinConfiguration":    fresh[v1beta4.JoinConfiguration],
	}},
}

func main() {
	failed := len(os.Args) < 2
	for _, file := range os.Args[1:] {
		if err := check(file); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", file, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

func check(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		told, err := decode(document)
		if err != nil {
			return err
		}
		if told != "" {
			fmt.Printf("%s: %s\n", file, told)
		}
	}
}

func decode(document []byte) (string, error) {
	var head head
	if err := yaml.Unmarshal(document, &head); err != nil {
		return "", err
	}
	if head.APIVersion == "kind.x-k8s.io/v1alpha4" && head.Kind == "Cluster" {
		return cluster(document)
	}
	group, _, _ := strings.Cut(head.APIVersion, "/")
	for _, version := range objects {
		if its, _, _ := strings.Cut(version.name, "/"); its != group {
			continue
		}
		kind := version.kinds[head.Kind]
		if kind == nil || version.name != head.APIVersion {
			return "", fmt.Errorf("there is no kind %q in %s", head.Kind, head.APIVersion)
		}
		into := kind()
		if err := yaml.UnmarshalStrict(document, into); err != nil {
			return "", fmt.Errorf("%s %s: %w", head.Kind, head.Metadata.Name, err)
		}
		return head.Kind + " " + head.Metadata.Name, nil
	}
	return "", nil
}

// As kind decodes its own configuration.
func cluster(document []byte) (string, error) {
	var cluster kindconfig.Cluster
	decoder := yamlv3.NewDecoder(bytes.NewReader(document))
	decoder.KnownFields(true)
	if err := decoder.Decode(&cluster); err != nil {
		return "", err
	}
	patches := cluster.KubeadmConfigPatches
	told := []string{"Cluster"}
	for _, node := range cluster.Nodes {
		if node.Role != kindconfig.ControlPlaneRole && node.Role != kindconfig.WorkerRole {
			return "", fmt.Errorf("there is no role %q", node.Role)
		}
		told = append(told, string(node.Role))
		patches = append(patches, node.KubeadmConfigPatches...)
	}
	for index, patch := range patches {
		taints, err := patchOfKubeadm([]byte(patch))
		if err != nil {
			return "", fmt.Errorf("kubeadm patch %d: %w", index, err)
		}
		told = append(told, taints...)
	}
	return strings.Join(told, " "), nil
}

// A patch is decoded as every version that kind may have kubeadm use, unless it names one.
func patchOfKubeadm(patch []byte) ([]string, error) {
	var head head
	if err := yaml.Unmarshal(patch, &head); err != nil {
		return nil, err
	}
	decoded := 0
	var taints []string
	for _, version := range kubeadm {
		if head.APIVersion != "" && head.APIVersion != version.name {
			continue
		}
		kind := version.kinds[head.Kind]
		if kind == nil {
			return nil, fmt.Errorf("there is no kind %q in %s", head.Kind, version.name)
		}
		into := kind()
		if err := yaml.UnmarshalStrict(patch, into); err != nil {
			return nil, fmt.Errorf("%s: %w", version.name, err)
		}
		decoded++
		// The same in both: what a test wants to see of it.
		if join, is := into.(*v1beta4.JoinConfiguration); is {
			for _, taint := range join.NodeRegistration.Taints {
				taints = append(taints, taint.ToString())
			}
		}
	}
	if decoded == 0 {
		return nil, fmt.Errorf("there is no %s", head.APIVersion)
	}
	return taints, nil
}
