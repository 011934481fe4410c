/*
 * A node's ports: each call goes on to the world's, until the node crashes. The
 * crash comes before or, at every other call, after the effect; from then on
 * nothing the node does has an effect.
 */
#ifndef TESTS_UNIT_TRAINER_FAULTS_H
#define TESTS_UNIT_TRAINER_FAULTS_H

struct node;
void faults_install(struct node *n);

#endif
