package main

import (
	"context"
	"os"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/ptr"
)

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for range 300 {
		if condition() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("not within 30 s: %s", what)
}

func create(t *testing.T, client kubernetes.Interface, name string) *corev1.Pod {
	t.Helper()
	pod, err := client.CoreV1().Pods(namespace).Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"orders": "enabled"}},
		Spec: corev1.PodSpec{
			ServiceAccountName: "cart",
			Containers:         []corev1.Container{{Name: "c", Image: "i", Command: []string{"sleep", "600"}}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

func remove(t *testing.T, client kubernetes.Interface, pod *corev1.Pod) {
	t.Helper()
	options := metav1.DeleteOptions{GracePeriodSeconds: ptr.To[int64](0)}
	if err := client.CoreV1().Pods(namespace).Delete(t.Context(), pod.Name, options); err != nil {
		t.Fatal(err)
	}
}

// user is the pod that a token speaks for, by the word of the API server; empty where it is refused.
func user(t *testing.T, client kubernetes.Interface, token string) string {
	t.Helper()
	review, err := client.AuthenticationV1().TokenReviews().Create(t.Context(), &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{audience}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !review.Status.Authenticated {
		return ""
	}
	return review.Status.User.Extra["authentication.kubernetes.io/pod-uid"][0]
}

func TestEachPodHasATokenOfItsOwnAsLongAsItLives(t *testing.T) {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	client := kubernetes.NewForConfigOrDie(config)
	operator := NewOperator(client)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- operator.Run(ctx) }()

	one, two := create(t, client, "one"), create(t, client, "two")
	tokens := map[string]string{}
	for _, pod := range []*corev1.Pod{one, two} {
		eventually(t, "a token for "+pod.Name, func() bool {
			token, found := operator.Token(pod)
			tokens[pod.Name] = token
			return found
		})
		if got := user(t, client, tokens[pod.Name]); got != string(pod.UID) {
			t.Errorf("the token of %s is of %q, not %q", pod.Name, got, pod.UID)
		}
	}

	remove(t, client, one)
	eventually(t, "one is forgotten", func() bool { _, found := operator.Token(one); return !found })
	if token, found := operator.Token(two); !found || token != tokens["two"] {
		t.Error("the token of two is another one, or gone")
	}
	eventually(t, "the API server refuses it", func() bool { return user(t, client, tokens["one"]) == "" })

	again := create(t, client, "one")
	eventually(t, "a token for its successor", func() bool { _, found := operator.Token(again); return found })
	if _, found := operator.Token(one); found {
		t.Error("a token for a pod that is gone")
	}

	remove(t, client, again)
	remove(t, client, two)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
